"""What to do about one job, as pure functions of what was observed."""
