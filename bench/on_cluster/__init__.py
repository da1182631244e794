"""`make bench-cluster`: what the platform costs on a Kubernetes; see `__main__`."""
