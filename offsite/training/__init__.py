"""Training: batches, the one loop and its step, the losses of both stages, and evaluation."""
