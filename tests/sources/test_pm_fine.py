"""Samples one by one, counter sets in turns, and what was lost: the real helper over stand-ins."""

import itertools
import time

import pyarrow as pa
import pytest

from gnomon import tables
from gnomon.configuration import Settings
from gnomon.enums import Counters, CounterSet
from gnomon.sources import pm
from gnomon.sources._pm_asked import Asked
from gnomon.sources._pm_machine import Machine
from gnomon.sources.pm import PmSource
from tests.sources.pm_script import CYCLES, DRAM, GPU, LIVE, MS, SM, T0, TENSOR
from tests.standins import DEFAULT_UUID

L2_HITS = "LTS.TriageCompute.lts__average_t_sector_hit_rate_realtime.pct"
SECTORS, REQUESTS = "lts__t_sectors.sum", "lts__t_requests.sum"
ISSUE = "TPC.TriageCompute.sm__inst_executed_realtime.avg.pct_of_peak_sustained_elapsed"
ALL = tuple(CounterSet)


def fine(source, interval_us=10_000, **asked):
    """Make the source tell each sample."""
    return PmSource(
        10 * MS, Asked(interval_us, fine=True, **asked), environment=source._environment
    )


@pytest.fixture
def read():
    """Return a function: read a source until a condition of its rows by table; closes it after."""
    opened = []

    def until(source, wanted, timeout_s=15):
        if source not in opened:
            source.open()
            opened.append(source)
        found = {"pm_samples": [], "gpu_counters": [], "losses": []}
        deadline = time.monotonic() + timeout_s
        while not wanted(found):
            assert time.monotonic() < deadline, {name: len(rows) for name, rows in found.items()}
            for batch in source.read():
                if batch.arrow is not None:
                    assert batch.arrow.schema.equals(tables.arrow_schema(batch.table))
                    found[batch.table] += batch.arrow.to_pylist()
                else:
                    tables.batch(batch.table, batch.rows)
                    found[batch.table] += batch.rows
            time.sleep(0.005)
        return found

    yield until
    for source in opened:
        source.close()


def test_each_sample_is_a_row_and_makes_part_of_a_row_of_100_ms(source, script, read):
    """Columns, units and nulls of three samples; the same ten make the row."""
    script.first_sample()
    script.sample(cycles=15e6, sm=100.0, tensor=90.0, dram=50.0)
    script.sample(cycles=19.8e6, sm=0.0, tensor=0.0, dram=85.5)
    script.sample(cycles=0.0, sm=float("nan"), tensor=float("nan"), dram=0.0)
    for _ in range(7):
        script.sample(cycles=1e7, sm=50.0)
    script.sample(cycles=1.0)
    script.add("decode 3", "decode 100")
    found = read(fine(source), lambda rows: len(rows["pm_samples"]) >= 11 and rows["gpu_counters"])

    first, second, third, *_ = samples = found["pm_samples"]
    assert [one["ts_ns"] for one in samples] == [T0 + (n + 1) * 10 * MS for n in range(11)]
    assert {one["duration_ns"] for one in samples} == {10 * MS}
    assert {(one["gpu_uuid"], one["counter_set"]) for one in samples} == {(GPU, "throughput")}
    told = ("sm_clock_mhz", "sm_active_pct", "tensor_active_pct", "dram_active_pct")
    assert [first[name] for name in told] == pytest.approx([1500.0, 100.0, 90.0, 50.0])
    assert [second[name] for name in told] == pytest.approx([1980.0, 0.0, 0.0, 85.5])
    assert [third[name] for name in told] == [0.0, None, None, 0.0]
    assert first["l2_hit_pct"] is None
    (row,) = found["gpu_counters"]
    assert row["samples"] == 10
    assert row["sm_clock_mhz"] == pytest.approx((15 + 19.8 + 70) * 1e6 / 0.1 / 1e6)


def test_without_being_asked_no_sample_is_told(source, script, read):
    script.add(LIVE)
    found = read(
        PmSource(10 * MS, Asked(10_000), environment=source._environment),
        lambda rows: len(rows["gpu_counters"]) >= 2,
    )

    assert found["pm_samples"] == []


def test_short_intervals_come_complete(source, script, read):
    """50,000 a second for 0.4 s: in order, none twice, and none missing without a word."""
    script.add(LIVE)
    found = read(fine(source, 20), lambda rows: len(rows["pm_samples"]) >= 20_000)
    ends = [one["ts_ns"] for one in found["pm_samples"]]
    told_lost = sum(loss["rows"] for loss in found["losses"] if loss["table"] == "pm_samples")
    steps = [after - before for before, after in itertools.pairwise(ends)]
    # Emptying the image leaves one sample out, which is no loss.
    missing = sum(step // 20_000 - 1 for step in steps)

    assert min(steps) == 20_000
    assert missing - told_lost <= len(ends) // 1000


def test_sets_take_turns_and_the_first_every_other_one(source, script, read):
    script.add(f"live {CYCLES}=1e7 {SM}=50 {L2_HITS}=80 {SECTORS}=400 {REQUESTS}=100 {ISSUE}=33")
    turns = fine(source, 10_000, on_s=0.1, every_s=0.2, sets=ALL)
    found = read(
        turns,
        lambda rows: (
            len({one["counter_set"] for one in rows["pm_samples"]}) == 3
            and len(rows["gpu_counters"]) >= 5
        ),
    )

    for one in found["pm_samples"]:
        # A machine with other things to do may begin or end a turn late.
        turn = (one["ts_ns"] - one["duration_ns"]) // (200 * MS)
        expected = ("throughput", ("caches", "instructions")[turn // 2 % 2])[turn % 2]
        assert one["counter_set"] == expected
        is_caches = expected == "caches"
        assert one["l2_hit_pct"] == (80.0 if is_caches else None)
        assert one["sectors_per_request"] == (4.0 if is_caches else None)
        assert one["issue_active_pct"] == (33.0 if expected == "instructions" else None)
    clock_only = [row for row in found["gpu_counters"] if "sm_active_pct" not in row]
    assert [row["sm_clock_mhz"] for row in clock_only] == pytest.approx([1000.0] * len(clock_only))
    assert 0 < len(clock_only) < len(found["gpu_counters"])
    assert found["losses"] == []


def test_a_set_that_fits_no_pass_is_left_out_by_name(source, script, read):
    instructions = [metric.name for metric in pm.wanted([CounterSet.INSTRUCTIONS])]
    script.add(LIVE, *(f"unknown {name}" for name in instructions if name not in (CYCLES, SM)))
    turns = fine(source, 10_000, on_s=0.1, every_s=0.2, sets=(CounterSet.CACHES, ALL[2]))
    found = read(turns, lambda rows: len(rows["pm_samples"]) >= 30)

    assert {one["counter_set"] for one in found["pm_samples"]} == {"caches"}
    (missing,) = turns.describe().missing
    assert "counter set instructions fits one pass of GH100" in missing.reason
    assert (missing.metric, missing.gpu_uuid) == ("pm_samples", GPU)


def test_a_set_that_cupti_refuses_when_its_turn_comes_is_left_out(source, script, read):
    """CUPTI_ERROR_INVALID_PARAMETER (1) of the second configuration, each time."""
    script.add(LIVE, f"refuse {L2_HITS} 1")
    turns = fine(source, 10_000, on_s=0.1, every_s=0.2, sets=ALL[:2])
    read(turns, lambda rows: len(rows["pm_samples"]) >= 30 and turns.describe().missing)

    assert "counter set caches" in turns.describe().missing[0].reason


def test_metrics_that_would_make_counters_narrow_are_passed_over(source, script, read):
    script.add(f"narrow {TENSOR}")
    told = fine(source)
    read(told, lambda _rows: told.sampled_gpus())
    facts = told.describe().gpus[GPU]

    assert TENSOR not in facts["pm_metrics"]
    assert DRAM in facts["pm_metrics"]


def test_a_gap_is_a_loss_of_both_tables_and_counted(source, script, read):
    script.first_sample()
    script.sample(cycles=1e7)
    script.sample(cycles=1e7, gap_ns=250 * MS)
    script.add("decode overflow 100")
    gapped = fine(source)
    found = read(
        gapped,
        lambda rows: len(rows["losses"]) >= 2 and "pm_overflows" in gapped.describe().gpus[GPU],
    )

    assert [(loss["table"], loss["rows"], loss["reason"]) for loss in found["losses"]] == [
        ("gpu_counters", 25, "overflow"),
        ("pm_samples", 25, "overflow"),
    ]
    facts = gapped.describe().gpus[GPU]
    assert [facts[f"pm_{name}"] for name in ("lost_samples", "gaps", "overflows")] == [25, 1, 1]


def test_samples_that_the_pipe_has_no_room_for_are_counted(source, script, read):
    """Nobody reads for a while; what came is told, and how much of it did not."""
    script.add(LIVE)
    slow = fine(source, 20)
    read(slow, lambda _rows: slow.sampled_gpus())
    time.sleep(1.5)
    found = read(slow, lambda rows: any(loss["reason"] == "queue_full" for loss in rows["losses"]))

    lost = [loss for loss in found["losses"] if loss["reason"] == "queue_full"]
    assert "pm_samples" in {loss["table"] for loss in lost}
    assert all(loss["rows"] > 0 and loss["duration_ns"] > 0 for loss in lost)


def test_what_was_taken_in_a_turn_is_told_before_the_next(source, script, read):
    """A turn's last samples do not wait; the sampler is stopped before they are decoded."""
    script.add(LIVE)
    turns = fine(source, 1_000, on_s=0.2, every_s=3600.0)
    turns._asked = Asked(1_000, on_s=0.2, every_s=0.5, fine=True)
    found = read(turns, lambda rows: len(rows["pm_samples"]) >= 400)

    assert found["losses"] == []


def test_each_gpu_has_samples_of_its_own(source, script, nvml, read):
    nvml.__init__(nvml.path, gpus=2)
    script.add("set gpus 2", LIVE)
    found = read(
        fine(source),
        lambda rows: (
            len({one["gpu_uuid"] for one in rows["pm_samples"]}) == 2
            and len(rows["pm_samples"]) >= 50
        ),
    )

    for uuid in (GPU, DEFAULT_UUID.format(index=1)):
        ends = [one["ts_ns"] for one in found["pm_samples"] if one["gpu_uuid"] == uuid]
        assert len(ends) == len(set(ends)) >= 20


@pytest.mark.parametrize(
    ("settings", "has_gpm", "turns", "interval_us"),
    [
        (Settings(), True, (1.0, 10.0), 10_000),
        (Settings(), False, (1.0, 0.0), 10_000),
        (Settings(counters=Counters.CUPTI), True, (1.0, 0.0), 10_000),
        (Settings(pm_samples=True), True, (1.0, 10.0), 1_000),
        (Settings(pm_samples=True, pm_interval_s=50e-6), True, (1.0, 10.0), 50),
    ],
)
def test_what_settings_ask_for(settings, has_gpm, turns, interval_us):
    source = pm.create(settings)
    machine = Machine(None, None, (), (), has_gpm)

    assert source._asked.turns(machine) == turns
    assert source._asked.interval_us == interval_us
    assert source._asked.fine is settings.pm_samples


def test_samples_fit_the_table():
    types = {field.type for field in tables.arrow_schema("pm_samples") if "pct" in field.name}

    assert types == {pa.float32()}
