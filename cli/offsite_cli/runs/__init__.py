"""`offsite runs`: records of runs on this machine."""
