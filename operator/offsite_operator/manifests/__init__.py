"""The objects that carry out one step of a job."""
