"""What users read when the kernel says no."""

import errno
import resource

import pytest

from gnomon.tracing.refusals import (
    ENOTSUPP,
    Surroundings,
    kernel_version,
    look_around,
    missing_capabilities,
    refused,
    remedy,
)

# CapEff of root, of a default container, and of CAP_BPF with CAP_PERFMON (capsh --decode).
ROOT, CONTAINER, TRACER = 0x1FFFFFFFFFF, 0xA80425FB, 0xC000000000
FREE = Surroundings(ROOT, "", False, resource.RLIM_INFINITY, (6, 18))


@pytest.mark.parametrize(
    ("capabilities", "kernel", "missing"),
    [
        (ROOT, (6, 6), []),
        (TRACER, (6, 6), []),
        (CONTAINER, (6, 6), ["CAP_BPF", "CAP_PERFMON"]),
        (1 << 39, (6, 6), ["CAP_PERFMON"]),
        (ROOT, (6, 1), []),
        (TRACER, (6, 1), ["CAP_SYS_ADMIN"]),
    ],
)
def test_missing_capabilities_are_named(capabilities, kernel, missing):
    assert missing_capabilities(capabilities, kernel) == missing


@pytest.mark.parametrize(
    ("here", "number", "said"),
    [
        (FREE._replace(capabilities=CONTAINER), errno.EPERM, "with CAP_BPF and CAP_PERFMON"),
        (FREE._replace(lockdown="confidentiality"), errno.EPERM, "lockdown=confidentiality"),
        (FREE._replace(lockdown="integrity"), errno.EPERM, "a security module"),
        (FREE._replace(is_filtered=True), errno.EPERM, "seccomp filter"),
        (FREE._replace(kernel=(5, 10), memlock_limit_bytes=65536), errno.EPERM, "it is 65536"),
        (FREE._replace(kernel=(5, 10), memlock_limit_bytes=65536), errno.ENOMEM, "ulimit -l"),
        (FREE, errno.ENOMEM, "free memory"),
        (FREE, errno.ENOSYS, "outside of the sandbox"),
        (FREE, errno.EMFILE, "ulimit -n"),
        (FREE._replace(kernel=(6, 1)), errno.EINVAL, "Linux 6.6 or newer"),
        (FREE, ENOTSUPP, "leave this function out"),
        (FREE, errno.EIO, ""),
    ],
)
def test_the_remedy_fits_the_cause(here, number, said):
    answer = remedy("attach uprobes", number, here)

    assert said in answer
    assert bool(said) == bool(answer)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-cloud", (6, 18)), ("5.15", (5, 15)), ("6.6-rc1", (6, 6)), ("strange", (0, 0))],
)
def test_a_kernels_version_is_read_from_its_release(release, version):
    assert kernel_version(release) == version


def test_a_refusal_names_operation_subject_and_errno_and_shows_the_logs_end():
    log = "\n".join(f"line {number}" for number in range(100))
    error = refused("load the program", "on_switch", errno.EINVAL, log)

    assert str(error).splitlines()[0] == (
        "cannot load the program on_switch: Invalid argument (EINVAL)"
    )
    assert str(error).splitlines()[1:] == [f"  line {number}" for number in range(88, 100)]
    assert error.errno == errno.EINVAL


def test_this_machine_can_be_looked_at():
    here = look_around()

    assert here.kernel > (4, 0)
    assert here.memlock_limit_bytes != 0
