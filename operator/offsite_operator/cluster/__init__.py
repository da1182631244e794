"""Access to the API server: reads, writes and logs."""
