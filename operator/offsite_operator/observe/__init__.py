"""What the API server has, interpreted."""
