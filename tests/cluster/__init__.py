"""A real Kubernetes on one bare machine, for tests: see README.md."""
