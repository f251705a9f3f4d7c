"""Reads back what an import wrote."""

from gnomon.recording.reader import Recording


def rows(directory, table):
    return Recording(directory).read(table).to_pylist()


def meta(directory):
    return Recording(directory).meta()
