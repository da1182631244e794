"""Training: from rows to batches, the one loop, the losses of both stages, and evaluation."""
