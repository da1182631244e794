"""Interprets the objects of the API server as the observed state of a job."""
