"""The terminal's view: what is wrong, where, when, what it cost, why, what to do."""

import io
import re
from dataclasses import replace

import duckdb
import pytest

from gnomon.cli import explain_words as words
from gnomon.cli.explain_text import print_explanation
from gnomon.cli.rendering import console
from gnomon.detectors.report import Looked
from gnomon.enums import Cause
from tests.cli.explanations import (
    FRAME,
    HOSTILE,
    HOSTILE_EVIDENCE,
    LACKING,
    explanation,
    finding,
)


def shown(made, **how):
    out = io.StringIO()
    print_explanation(made, FRAME, console(out), **how)
    return out.getvalue()


def test_a_finding_says_all_that_is_known_of_it():
    text = shown(explanation(finding()))

    for part in (
        "1 warning\n",
        "Looked at 1 min 00 s: 3,000 CUDA calls of 2 threads (1 feeds a GPU), 7,749 stays",
        "WARNING  a thread waited for a disk  [io_wait]",
        "where     host node-1, GPU 0, rank 3, process 41, thread 42 (python)",
        "when      4.102 s to 33.151 s after the start; 2026-11-20",
        "lost      6 s, 10.0 % of the time; 9.5 % of the GPU's peak meanwhile",
        "because   it read for 6 s",
        "not       cpu_contention: it wanted a CPU for 3 ms",
        "remedy    Put the data on a faster disk. Could win 6 s: all reads at once.",
        "certainty 90 %: reads and stays overlap",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


def test_every_heading_fits_eighty_columns():
    for cause in Cause:
        text = shown(explanation(finding(cause=cause)))
        assert max(map(len, text.splitlines())) <= 80
        assert f"[{cause}]" in text


def test_queries_are_shown_unbroken_when_they_are_asked_for():
    long = finding().evidence[0].__class__("it read", 1, "ns", "SELECT " + "1 + " * 50 + "1")
    made = explanation(finding(evidence=[long]))

    assert long.sql not in shown(made)
    assert long.sql in shown(made, has_queries=True)


def test_silence_says_what_was_looked_at_and_what_was_not_seen():
    text = shown(LACKING)

    assert "Nothing wrong was found; 1 detector failed; 2 detectors lacked something" in text
    assert "io_wait, host_bound: no stays\n" in text
    assert "host_bound: no GPU counters\n" in text
    assert "3 rows of off_cpu were not kept (tracer: ring_full)" in text
    assert "oom: ZeroDivisionError: by zero" in text
    assert "--sql" not in text


def test_what_a_sample_stands_for_is_told_as_an_estimate():
    looked = Looked(60.0, 1_003_412, 1, 1, 7749, 0, 0, 14_171, 7749)

    told = words.looked_at(explanation(looked=looked))
    assert (
        "about 1,000,000 CUDA calls (14,171 of them kept) of 1 thread (1 feeds a GPU), 7,749 stays "
        "off the CPU, no GPU" in told
    )
    assert "about 7,750 stays off the CPU (9 of them kept)" in words.looked_at(
        explanation(looked=replace(looked, stays_kept=9))
    )


def test_clocks_of_several_hosts_are_told_with_how_well_they_are_known():
    text = shown(LACKING)

    assert "a: the one that the others are compared with\n" in text
    assert "b: 3 ms behind, known within 40 us from 9 shared collectives\n" in text
    assert "c: not known" in text


def test_a_drop_of_throughput_says_what_was_done_instead():
    text = " ".join(shown(LACKING).split())

    assert (
        "10.000 s to 60.000 s after the start: tokens fell by 60.0 %, from 1,000 to 400 a second, "
        "and did not come back; thread 42 waits for a disk 300 ms more of each second"
    ) in text


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"less_severe": 1}, "Nothing as severe; 1 less severe finding left out"),
        ({"findings": [finding()], "less_severe": 2}, "1 warning; 2 less severe findings left out"),
    ],
)
def test_findings_left_out_are_counted(changed, verdict):
    assert verdict in shown(explanation(**changed))


def test_what_is_not_known_takes_no_place():
    unknown = dict.fromkeys(("lost_seconds", "lost_pct", "gpu", "host", "pid", "tid", "thread"))
    text = shown(explanation(finding(**unknown, operation=None, rank=None, expected_gain=None)))

    assert "where     the whole recording" in text
    assert "lost      no time that was measured" in text
    assert "None" not in text


def test_what_nobody_measured_of_the_gpu_is_the_most_that_it_can_be():
    unbounded = finding(lost_seconds=None, thread_seconds=6.0)

    assert "lost      at most 6 s, 10.0 % of the time" in shown(explanation(unbounded))


def test_time_that_threads_lost_at_once_is_no_share():
    assert "lost      90 s, added over threads" in shown(explanation(finding(lost_seconds=90.0)))


def test_a_name_cannot_move_the_cursor():
    made = explanation(finding(thread=HOSTILE, evidence=[HOSTILE_EVIDENCE]))
    text = shown(made, has_queries=True)

    assert "\\u{1b}[2J\\u{202e}" in text.replace("\n            ", "")
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_query_with_letters_that_are_not_seen_gives_the_same_answer():
    made = explanation(finding(evidence=[HOSTILE_EVIDENCE]))
    (query,) = re.findall(r"SELECT .* AS name", shown(made, has_queries=True))

    assert duckdb.sql(query).fetchall() == [(HOSTILE,)]
    assert "it''s a plain ''name''" in words.query("SELECT 'it''s a plain ''name'''")
