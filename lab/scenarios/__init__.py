"""Faults of known cost on a real GPU, each with a healthy control and a sidecar of truth."""
