"""Workloads whose truth is known beforehand: what gnomon is held against on a real GPU."""
