"""What a loss of a thread that feeds a GPU is called."""

import pytest

from gnomon.analysis.questions import Span
from gnomon.detectors.causes import cpu_contention, input_pipeline_stall, io_wait, lock_contention
from gnomon.detectors.feeding import Spent, costly, graded, part_of
from gnomon.detectors.titles import TITLES
from gnomon.enums import Severity
from tests.analysis.recordings import BEGIN_NS, MS, SECOND, call
from tests.analysis.stays import queued, read, stack, waited

SPAN = Span(BEGIN_NS, BEGIN_NS + SECOND)


def launching(seconds, tid=1):
    return [call(n * 10 * MS, MS, "cudaLaunchKernel", tid=tid) for n in range(100 * seconds)]


@pytest.mark.parametrize(
    ("lost_ns", "severity"),
    [
        (9 * MS, None),
        (20 * MS, Severity.INFO),
        (60 * MS, Severity.WARNING),
        (300 * MS, Severity.CRITICAL),
    ],
)
def test_a_loss_is_graded_by_the_time_in_which_it_could_be_lost(case_with, lost_ns, severity):
    case = case_with(host_calls=launching(1))
    found = graded(case, case.workers[0], Spent(lost_ns, lost_ns), SPAN)

    assert (found and found.severity) is severity


def test_a_thread_that_was_hardly_active_loses_a_share_of_a_tenth_of_the_span(case_with):
    early = [row for row in launching(1) if row["ts_ns"] < BEGIN_NS + SECOND // 5]
    case = case_with(host_calls=[*early, call(20 * SECOND, MS, "cudaMalloc", tid=2)])
    found = graded(case, case.workers[0], Spent(60 * MS, 60 * MS), SPAN)

    assert found.share == pytest.approx(0.03, rel=0.01)


def test_where_many_threads_lost_the_worst_are_told(case_with):
    tids = range(1, 13)
    calls = [row for tid in tids for row in launching(1, tid)]
    stays = [queued((10 * n + 2) * MS, tid * MS // 4, tid=tid) for tid in tids for n in range(20)]
    case = case_with(host_calls=calls, off_cpu=stays)
    found = list(costly(case, [part_of(case, one, "queued_ns") for one in case.workers]))

    assert [part.worker.thread.tid for part, _, _ in found] == [12, 11, 10, 9, 8, 7, 6, 5]
    assert [is_detailed for _, _, is_detailed in found] == [True] * 3 + [False] * 5


@pytest.mark.parametrize(
    ("detector", "made", "symbol"),
    [
        (cpu_contention, queued, ""),
        (io_wait, read, ""),
        (lock_contention, waited, "pthread_mutex_lock"),
        (input_pipeline_stall, waited, "_try_get_data"),
    ],
    ids=lambda one: getattr(one, "__name__", "").rpartition(".")[2] or None,
)
def test_where_no_thread_is_known_to_feed_a_gpu_no_sentence_says_so(
    case_with, detector, made, symbol
):
    stays = [made(10 * n * MS, 5 * MS, stack_hash=1) for n in range(50)]
    case = case_with(off_cpu=stays, stacks=stack(1, symbol))
    (found,) = detector.detect(case)

    proofs = [one.text for one in (*found.evidence, *found.ruled_out)]
    for sentence in (TITLES[found.cause], found.remedy, *proofs):
        assert "GPU" not in sentence
