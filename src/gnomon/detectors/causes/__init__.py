"""One file for each cause; its name is the cause's, ``detect(case)`` yields findings.

The docstring of a file says what it measures, when it speaks, and its detection limit: the smallest
loss that it reports. Thresholds that are not in ``grading`` stand there, named and with a reason.
"""
