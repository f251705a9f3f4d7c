"""What /proc tells of this host and its processes: read, parsed, named. For sources and tracing."""
