"""Builds the Kubernetes objects that run one step of a job."""
