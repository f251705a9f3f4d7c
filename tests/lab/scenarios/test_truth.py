from pathlib import Path

import pytest
from lab.activity import NotPossibleError
from lab.scenarios.shared_counts import SharedCounts
from lab.scenarios.truth import SourceLines, read_truths

from lab.scenarios import clocks, host_bound, samples
from tests.lab.scenarios.facts import truth


def test_a_truth_survives_the_sidecar(tmp_path):
    lines = SourceLines("tokenise", "host_bound.py", 1, 9)
    one = truth(lost_ns=5, counts={"hog_pid": 4}, named=("backup",), sources=(lines,))
    for _ in range(2):
        one.append(tmp_path / "truth.jsonl")

    assert read_truths(tmp_path / "truth.jsonl") == [one, one]
    assert one.steps_per_s == 50


def test_the_lines_of_a_function_hold_its_first_and_last():
    found = host_bound.lines_of(host_bound.tokenise)
    text = Path(found.file).read_text().splitlines()

    assert text[found.first_line - 1].startswith("def tokenise(")
    assert text[found.last_line - 1].strip() == "return tokens"


@pytest.mark.parametrize(
    ("slow", "fast", "of"),
    [
        (host_bound.tokenise, host_bound.tokenise_fast, "one two one two three "),
        (host_bound.filter_logits, host_bound.likeliest, [0.0, 20.0, 1.0]),
    ],
)
def test_the_control_does_the_same_work(slow, fast, of):
    assert slow(of) == fast(of)


def test_schedstat_and_status_are_read_as_the_kernel_writes_them():
    status = "Name:\tpython3\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t5\n"

    assert clocks.parse_schedstat("62540127 1820655 93\n") == (62540127, 1820655, 93)
    assert clocks.parse_switches(status) == (12, 5)


@pytest.mark.parametrize("variant", ["decode", "read", "remote"])
def test_a_sample_counts_what_it_cost(monkeypatch, variant):
    monkeypatch.setattr(samples, "worker_row", lambda: 3)
    try:
        made = samples.Samples(variant, 5.0, 0)
    except NotPossibleError as error:
        pytest.skip(str(error))
    before = made.counts.totals()
    assert made[5].shape == samples.SHAPE
    made.close()
    cost = {name: now - before[name] for name, now in made.counts.totals().items()}
    spent = {"decode": "decoded_cpu_ns", "read": "read_ns", "remote": "remote_ns"}[variant]

    assert cost["samples"] == 1
    assert cost[spent] > 0


def test_totals_of_processes_add_up():
    counts = SharedCounts(("samples", "read_ns"))
    counts.add(0, samples=1, read_ns=70)
    counts.add(3, samples=2)

    assert counts.totals() == {"samples": 3, "read_ns": 70}
