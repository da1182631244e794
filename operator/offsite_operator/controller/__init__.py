"""The operator's process: watches, work queue, workers, health and metrics."""
