"""The process: its resource usage, its signals, and its start and exit."""
