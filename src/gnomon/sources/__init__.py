"""Where measurements come from: one file a source, found by its name.

To add one: write ``sources/<name>.py`` with a class that keeps the protocol of ``base.Source``
and a ``create(settings)`` function, add its name here, and a test beside its siblings.
"""

SOURCES: tuple[str, ...] = ("nvml", "gpm", "pm", "host", "trace", "kernels")
