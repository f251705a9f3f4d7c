"""What is wrong, from measured evidence, or nothing: one file of ``causes`` for each cause.

A detector reads a ``Case`` and yields findings. It blames a cause only where a measured overlap, in
nanoseconds, explains the loss; below that it says nothing, or what it rules out.
"""
