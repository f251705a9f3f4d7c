"""The timeline as a user sees it."""

import json

import pytest

from tests.detectors.worlds import World

WIDTH = 80


@pytest.fixture(scope="module")
def stalled(tmp_path_factory):
    """A training run whose thread reads from the disk from 3 s to 6 s."""
    path = tmp_path_factory.mktemp("world") / "stalled"
    known = {"step_ns": 40_000_000, "counters": True, "follow": "all", "classes": True, "ranks": 1}
    World(5, "training", 9, **known).with_fault("io_wait", 0.5, from_s=3, to_s=6).record(path)
    return path


def test_each_second_is_a_row_that_fits_the_terminal(gnomon, stalled):
    done = gnomon("timeline", stalled)
    lines = done.stdout.splitlines()
    rows = [line for line in lines if line.strip()[:1].isdigit() and " s " in line]

    assert done.returncode == 0
    assert max(map(len, lines)) <= WIDTH
    assert [row.split()[0] for row in rows if "disk" in row] == ["3.0", "4.0", "5.0"]
    assert lines[-1].startswith("silent (no GPU had work): ")


def test_json_has_the_same_for_programs(gnomon, stalled):
    document = json.loads(gnomon("timeline", stalled, "--json", "--by", "3s").stdout)

    # The last one holds what little came after the end.
    told = [one["waited_for"] == "io" for one in document["periods"]]
    assert told == [False, True, False, False]
    assert document["periods"][1]["waited_pct"] == pytest.approx(50, abs=5)
    assert document["period_ns"] == 3_000_000_000
    assert document["silence"]["by_counters"] is True


def test_a_part_counts_its_seconds_from_the_start_of_the_recording(gnomon, stalled):
    done = gnomon("timeline", stalled, "--from", "4s", "--to", "6s")

    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["4.0", "5.0"]


def test_hosts_are_shown_together(gnomon, tmp_path):
    world = World(5, "training", 4, ranks=2, hosts=2, counters=True)
    paths = [one.path for one in world.record_each(tmp_path)]
    document = json.loads(gnomon("timeline", *paths, "--json").stdout)

    assert {one["host"] for one in document["threads"]} == set(world.hosts)
    assert all(one["busy_pct"] > 90 for one in document["periods"])


def test_a_recording_of_counters_alone_has_a_timeline(gnomon, h200_recording):
    done = gnomon("timeline", h200_recording, "--by", "10s")

    assert done.returncode == 0
    assert "launches/s" in done.stdout


def test_more_rows_than_anyone_reads_are_refused(gnomon, stalled):
    done = gnomon("timeline", stalled, "--by", "100us")

    assert done.returncode == 2
    assert "take a longer period" in done.stderr
