"""Measured roofs: taken on the device, fitted, kept, and put in the place of printed ones.

``plan`` says what is measured, ``measuring`` walks it, ``torch_bench`` does it, ``fitting`` makes
constants of the points, ``document`` is what is stored. Only ``torch_*`` needs PyTorch.
"""

from gnomon.hardware.calibration.scaled_profile import calibrated_profile

__all__ = ["calibrated_profile"]
