"""The tools, one a file, found by file name.

To add one: ``tools/<name>.py`` with a function ``answer(desk, *, ...) -> Answer``. Its name is
the file's, its description the function's docstring, its input schema the annotations of the
keyword parameters (``gnomon.mcp.parameters`` has the common ones). Texts that an observed program
could choose go through ``reply.said``; a ``GnomonError`` becomes an error that the agent reads.
"""
