"""Measurements that others took, turned into our tables. One file a format; each is pure."""
