"""The API server: reads what is there, applies what was decided."""
