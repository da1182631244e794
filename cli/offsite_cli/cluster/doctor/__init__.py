"""`offsite doctor`: check that a cluster and a namespace have what jobs need."""
