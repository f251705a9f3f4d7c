"""The terminal screen of ``gnomon top`` and ``gnomon demo``: it shows, it never computes.

``app.run`` is the way in. Files that draw (``bar``, ``chart``, ``gpu_block`` ...) are pure
functions from values to lines of text; ``gather`` and ``refresher`` ask the analysis off the
UI thread; ``application`` and the ``*_view`` files are the only ones that know Textual.
"""
