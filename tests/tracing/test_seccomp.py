"""Whether filters end processes at probed returns, on this kernel."""

import os

import pytest

from gnomon.tracing import seccomp
from gnomon.tracing.refusals import kernel_version
from gnomon.tracing.seccomp import may_end_processes, survives
from tests.tracing.kernel import open_descriptors
from tests.tracing.programs.tracer import NEEDS_PROGRAMS, needs_linux

pytestmark = [*NEEDS_PROGRAMS, needs_linux((6, 6), "a probe like the one that is tried")]
EXIT_GROUP = 231


def test_a_process_lives_through_a_forbidden_return_where_the_kernel_lets_it_pass():
    version = kernel_version(os.uname().release)
    if seccomp.CALL_SINCE <= version < seccomp.CALL_PASSES:
        pytest.skip("this kernel may do either")
    # What earlier tests left may be closed meanwhile.
    before = len(open_descriptors())

    assert survives()
    assert not may_end_processes()
    assert len(open_descriptors()) <= before


def test_a_process_that_its_filter_ends_is_told_from_one_that_lives():
    assert not survives({EXIT_GROUP})


@pytest.mark.parametrize("lives", [False, True])
@pytest.mark.parametrize(
    ("release", "is_asked"),
    [
        ("5.15.0-91-generic", False),
        ("6.10.14", False),
        ("6.11.0-9-generic", True),
        ("6.13.7", True),
        ("6.14.0", False),
    ],
)
def test_only_kernels_that_may_do_either_are_tried(release, is_asked, lives, monkeypatch):
    class Named:
        def __init__(self):
            self.release = release

    monkeypatch.setattr(seccomp.os, "uname", Named)
    monkeypatch.setattr(seccomp, "survives", lambda: lives)

    assert may_end_processes() == (is_asked and not lives)
