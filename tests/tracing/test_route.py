"""What this kernel can do with probes, against what its version must be able to do."""

import errno
import os

import pytest

from gnomon._errors import RefusedError
from gnomon.tracing import route
from gnomon.tracing.attachment import uses_uprobe_multi
from gnomon.tracing.refusals import kernel_version
from gnomon.tracing.route import Route, probe_route
from tests.tracing.kernel import needs_kernel, open_descriptors


@needs_kernel
def test_the_answers_of_this_kernel_fit_its_version():
    # What earlier tests left may be closed meanwhile.
    before = len(open_descriptors())
    found = probe_route()
    version = kernel_version(os.uname().release)

    assert found.is_multi == (version >= (6, 6)) == uses_uprobe_multi()
    if version >= (6, 10):
        assert found.filters_processes
    assert len(open_descriptors()) <= before


@pytest.mark.parametrize(
    ("to_folder", "to_process", "expected"),
    [
        (errno.EBADF, errno.EINVAL, Route(is_multi=True, filters_processes=True)),
        (errno.EBADF, errno.EBADF, Route(is_multi=True, filters_processes=False)),
        (errno.EINVAL, errno.EINVAL, Route(is_multi=False, filters_processes=True)),
    ],
)
def test_older_kernels_are_told_by_what_they_answer(to_folder, to_process, expected, monkeypatch):
    def answer(program, path, offsets, cookies, pid, flags):
        raise RefusedError("no", to_process if pid else to_folder)

    monkeypatch.setattr(route.bpf_syscall, "prog_load", lambda *_: os.open("/", os.O_RDONLY))
    monkeypatch.setattr(route.bpf_syscall, "link_uprobe_multi", answer)

    assert probe_route() == expected
