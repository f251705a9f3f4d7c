"""gnomon: how close GPUs run to the speed of light, and where the rest went."""

__version__ = "0.1.0"
