"""``gnomon mcp``: a recording as tools for an AI agent, by the Model Context Protocol.

A surface: what it tells is computed in ``analysis``. The SDK is an optional dependency and is
imported here alone, by the modules that need it.
"""
