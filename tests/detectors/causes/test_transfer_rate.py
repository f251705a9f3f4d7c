"""Copies below the rate of their link."""

import pytest

from gnomon.detectors.causes.transfer_rate import detect
from gnomon.enums import Cause, Severity
from tests.analysis.recordings import MS, US, call
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
def test_the_loss_is_what_the_link_would_have_saved(tmp_path, case_of, kind):
    world = World(2, kind, 8).with_fault("transfer_rate", 0.2)
    for finding in found_loss(case_of(world.record(tmp_path)), detect, world, 0.05):
        rate = finding.evidence[1]
        assert rate.unit == "GB/s"
        assert rate.value == pytest.approx(3.0, rel=0.02)


def test_a_copy_that_waits_for_earlier_work_tells_no_rate(tmp_path, case_of):
    # 100 MB after steps of 300 ms: 0.3 GB/s, if the wait were the copy's.
    world = World(6, "batch_inference", 8, ahead=0, copy_bytes=100 << 20, step_ns=300 * MS)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def loop(rates, operation="cudaMemcpy", nbytes=30_000_000):
    """Return rows: launch, wait, copy at a rate, again and again, 20 ms each."""
    rows = []
    for number, rate in enumerate(rates):
        at = number * 20 * MS
        rows += [
            call(at, 5 * US, "cudaLaunchKernel"),
            call(at + 10 * US, 2 * MS, "cudaStreamSynchronize"),
            call(at + 3 * MS, int(nbytes / rate * 1e9), operation, bytes=nbytes, direction="h2d"),
        ]
    return rows


def test_without_a_link_the_best_rate_is_what_can_be_reached(case_with):
    case = case_with(host_calls=loop([4e9] * 80 + [24e9] * 20))
    (found,) = proved(case, detect(case))

    assert found.cause is Cause.TRANSFER_RATE
    # 80 copies of 30 MB, at 4 instead of 24 GB/s.
    assert found.thread_seconds == pytest.approx(80 * 0.03 * (1 / 4 - 1 / 24), rel=0.01)
    assert found.severity is Severity.CRITICAL


def test_copies_that_all_run_alike_say_nothing_without_a_link(case_with):
    assert list(detect(case_with(host_calls=loop([6e9] * 100)))) == []


def test_an_asynchronous_call_that_returns_at_once_did_not_wait(case_with):
    assert list(detect(case_with(host_calls=loop([3e12] * 100, "cudaMemcpyAsync")))) == []
