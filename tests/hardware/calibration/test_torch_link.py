"""All-reduces among processes: stood in for by small scripts."""

import json
import sys

import pytest

from gnomon.hardware.calibration import plan, torch_link
from gnomon.hardware.calibration.points import CalibrationError

SECONDS = [6e-6 * 2**i for i in range(len(plan.ALL_REDUCE_BYTES))]


def script(text):
    return [sys.executable, "-c", f"import sys, time; rank, gpus, port = sys.argv[1:]; {text}"]


def test_the_first_rank_tells_the_times():
    points = torch_link.measure(2, script(f"print('NCCL 2.27'); print({json.dumps(SECONDS)})"))

    assert [point.seconds for point in points] == SECONDS
    assert [point.task.shape for point in points] == [(s, 2) for s in plan.ALL_REDUCE_BYTES]


def test_a_rank_that_fails_is_told_with_its_last_words():
    with pytest.raises(CalibrationError, match=r"rank 1 ended with status 1: no NVLink"):
        torch_link.measure(2, script("sys.exit('trace\\nno NVLink') if rank == '1' else print()"))


def test_ranks_that_hang_are_ended(monkeypatch):
    monkeypatch.setattr(torch_link, "TIMEOUT_S", 0.3)

    with pytest.raises(CalibrationError, match=r"rank 0 did not end within 0.3 s"):
        torch_link.measure(2, script("time.sleep(60)"))


@pytest.mark.parametrize("answer", ["", "hello", "[1, 2]", "7"])
def test_an_answer_that_is_no_list_of_times_is_refused(answer):
    with pytest.raises(CalibrationError, match="no list of times"):
        torch_link.points(plan.all_reduces(2), answer)
