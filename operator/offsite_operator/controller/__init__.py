"""Runs the operator: watches, a queue, workers, and the health of the process."""
