"""`offsite demo`: run all three stages as two parties, on one machine."""
