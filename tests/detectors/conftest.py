"""Cases over the published recordings, and over rows made up in a test."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from gnomon import tables
from gnomon.analysis.questions import Span
from gnomon.detectors.case import Case
from gnomon.recording.importers.ingero import import_ingero
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

PUBLISHED = Path(__file__).parents[1] / "data" / "ingero"


@pytest.fixture(scope="session")
def imported(tmp_path_factory):
    """The published recordings by the names of their files, imported; nobody writes to them."""
    directory = tmp_path_factory.mktemp("ingero")
    found = {}
    for file in PUBLISHED.glob("*.db"):
        import_ingero(file, directory / file.stem)
        found[file.stem] = Recording.open(directory / file.stem)
    return found


@pytest.fixture
def case_of():
    """Return a function: a recording and a span, all of it by default, to an open Case."""
    with ExitStack() as stack:

        def case(recording, from_ns=None, to_ns=None):
            begin, end = recording.bounds() or (0, 0)
            session = stack.enter_context(recording.session())
            span = Span(begin if from_ns is None else from_ns, end if to_ns is None else to_ns)
            return Case(recording, session, span)

        yield case


@pytest.fixture
def case_with(tmp_path, case_of):
    """Return a function: rows by table, each with its own ``ts_ns``, to a Case over them."""

    def case(**rows_of):
        with RecordingWriter(tmp_path / "recording", "host-1") as writer:
            for table, rows in rows_of.items():
                writer.append(table, tables.batch(table, rows))
        return case_of(Recording.open(tmp_path / "recording"))

    return case
