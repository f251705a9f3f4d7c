"""The bar is for people: nothing is drawn where nobody looks."""

import io

import pytest

from gnomon.cli import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_share_of_the_work_is_drawn_on_a_terminal_only(monkeypatch, stream):
    stderr = stream()
    monkeypatch.setattr("sys.stderr", stderr)
    with progress.shares("calibrating") as show:
        show("gemm bf16", 0.5)

    assert ("gemm bf16" in stderr.getvalue()) is stderr.isatty()
