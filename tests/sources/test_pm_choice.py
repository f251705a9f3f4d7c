"""What gnomon-pm chooses for each chip, asked of the real helper with a real CUPTI."""

import subprocess
from pathlib import Path

import pytest

from gnomon.enums import CounterSet
from gnomon.sources._pm_metrics import WISHES, plan_text, wanted
from tests.sources import cupti_host

# Counter availability as an H200 gave it under driver 580.159 (GH100, no NVLink visible).
AVAILABILITY = Path(__file__).parents[1] / "data/cupti/h200_driver580.availability"
SETS = tuple(CounterSet)
TURING = ("TU102", "TU104", "TU106", "TU116", "TU117")
AMPERE = ("GA102", "GA103", "GA104", "GA106", "GA107")
ADA = ("AD102", "AD103", "AD104", "AD106", "AD107")
BLACKWELL = ("GB100", "GB102", "GB110")
CONSUMER_BLACKWELL = ("GB202", "GB203", "GB205", "GB206", "GB207")
SYSTEM_ON_CHIP = ("GA10B", "GB10B", "GB20B")  # their DRAM is the host's
CHIPS = (
    *TURING, "GA100", *AMPERE, *ADA, "GH100", *BLACKWELL, *CONSUMER_BLACKWELL, *SYSTEM_ON_CHIP,
)  # fmt: skip


class Choice:
    """Columns that one chip gets of each set, and those it lacks."""

    def __init__(self, said):
        metrics = wanted(SETS)
        self.metrics = {each: [] for each in SETS}
        self.lacks = {each: set() for each in SETS}
        for key, value in map(str.split, said.splitlines()):
            if key == "set":
                current = CounterSet(value)
            elif key == "takes":
                self.metrics[current].append(metrics[int(value)])
            else:
                self.lacks[current].update(WISHES[current][int(value)].columns)

    def names(self, counter_set):
        return [metric.name for metric in self.metrics[counter_set]]

    def columns(self, counter_set):
        return {metric.column for metric in self.metrics[counter_set]}


@pytest.fixture(scope="module")
def choose(built_pm):
    """Return a function of a chip: its Choice; each is asked for once."""
    known = {}

    def ask(chip, package="cu13", availability=None):
        key = chip, package, availability
        if key not in known:
            library = cupti_host.find(package)
            command = [built_pm.helper, "--choose-for", chip, "--libcupti", library]
            if availability is not None:
                command += ["--availability", availability]
            answer = subprocess.run(
                command, input=plan_text(SETS), text=True, capture_output=True, check=True
            )
            known[key] = Choice(answer.stdout)
        return known[key]

    return ask


@pytest.fixture(scope="module")
def cupti13():
    return cupti_host.library("cu13")


def test_every_chip_that_the_library_can_sample_is_in_the_list(cupti13):
    assert set(cupti13.sampled_chips()) == set(CHIPS)


@pytest.mark.parametrize("chip", CHIPS)
def test_each_set_fits_one_pass_and_keeps_the_counters_wide(choose, cupti13, chip):
    for counter_set in SETS:
        names = choose(chip).names(counter_set)
        passes, _size = cupti13.config(chip, names)

        assert passes == 1
        assert is_wide(cupti13, chip, names)


def is_wide(host, chip, metrics):
    """No metric makes the config image smaller: narrow counters would (see _pm_metrics)."""
    sizes = [host.config(chip, metrics[: count + 1])[1] for count in range(len(metrics))]
    return sizes == sorted(sizes)


def test_the_set_that_was_slow_on_an_h200_is_told_from_wide_ones(cupti13):
    """This one took 16 to 25 % of a core; without its last two it would be wide."""
    tpc = "TPC.TriageCompute."
    slow = [
        "sm__cycles_elapsed.max",
        *(
            f"{tpc}{name}.avg.pct_of_peak_sustained_elapsed"
            for name in (
                "sm__cycles_active",
                "sm__pipe_tensor_cycles_active_realtime",
                "sm__pipe_tensor_op_hmma_cycles_active_realtime",
                "sm__pipe_tensor_op_imma_cycles_active_realtime",
                "sm__pipe_fp64_cycles_active_realtime",
                "sm__inst_executed_pipe_fma_realtime",
            )
        ),
    ]

    assert not is_wide(cupti13, "GH100", slow)
    assert is_wide(cupti13, "GH100", slow[:-2])


@pytest.mark.parametrize("chip", CHIPS)
def test_every_set_begins_with_the_clock_and_sm_activity(choose, chip):
    for counter_set in SETS:
        first, second, *rest = choose(chip).metrics[counter_set]

        assert (first.role, second.role) == ("cycles", "sm_active")
        assert rest


DRAM = {"dram_active_pct", "dram_read_pct", "dram_write_pct"}
PCIE = {"pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s"}
NVLINK = {"nvlink_rx_bytes_per_s", "nvlink_tx_bytes_per_s"}
DMMA, FP64, OCCUPANCY = {"tensor_dmma_active_pct"}, {"fp64_active_pct"}, {"sm_occupancy_pct"}
CACHES = {"l1_active_pct", "shared_active_pct"}
L2 = {"sectors_per_request", "requests"}


@pytest.mark.parametrize(
    ("chips", "throughput", "caches"),
    [
        # The tensor pipe takes two passes on Turing, whatever it is asked beside.
        (TURING[:3], {"tensor_active_pct"} | DMMA, CACHES | L2 | {"l2_hit_pct"}),
        (TURING[3:], {"tensor_active_pct"} | DMMA | NVLINK, CACHES | L2 | {"l2_hit_pct"}),
        (("GA100",), DMMA, CACHES | {"l2_hit_pct"}),
        (AMPERE, DMMA | FP64, CACHES),
        (ADA, DMMA | FP64 | NVLINK, CACHES),
        (("GH100",), FP64 | OCCUPANCY, CACHES),
        (("GB100", "GB102"), FP64 | OCCUPANCY, CACHES),
        (("GB110",), DMMA | FP64 | OCCUPANCY, CACHES),
        (CONSUMER_BLACKWELL, DMMA | FP64 | NVLINK, CACHES),
        (("GA10B", "GB20B"), DMMA | FP64 | NVLINK | PCIE | DRAM, CACHES),
        (("GB10B",), DMMA | FP64 | NVLINK | PCIE | DRAM | {"fp32_active_pct"}, CACHES),
    ],
)
def test_what_each_chip_lacks(choose, chips, throughput, caches):
    for chip in chips:
        assert choose(chip).lacks[CounterSet.THROUGHPUT] == throughput, chip
        assert choose(chip).lacks[CounterSet.CACHES] == caches, chip


@pytest.mark.parametrize("chip", CHIPS)
def test_instructions_tell_at_least_the_issue_rate_and_occupancy(choose, chip):
    assert {"issue_active_pct", "sm_occupancy_pct"} <= choose(chip).columns(CounterSet.INSTRUCTIONS)


def test_what_a_hopper_lacks_in_one_set_another_has(choose):
    columns = choose("GH100").columns(CounterSet.INSTRUCTIONS)

    assert {"shared_active_pct", "l1_active_pct", "alu_active_pct"} <= columns


def test_a_real_h200_gets_the_set_that_was_measured_there(choose):
    """With the counters that its driver offered: no NVLink, and all that the checks relied on."""
    tpc, pct = "TPC.TriageCompute.", ".avg.pct_of_peak_sustained_elapsed"
    names = choose("GH100", availability=AVAILABILITY).names(CounterSet.THROUGHPUT)

    assert names == [
        "sm__cycles_elapsed.max",
        f"{tpc}sm__cycles_active{pct}",
        f"{tpc}sm__pipe_tensor_cycles_active_realtime{pct}",
        f"FBSP.TriageCompute.dramc__throughput{pct}",
        f"FBSP.TriageCompute.dramc__read_throughput{pct}",
        f"FBSP.TriageCompute.dramc__write_throughput{pct}",
        f"{tpc}sm__inst_executed_pipe_fma_realtime{pct}",
        f"FE_B.TriageCompute.gr__cycles_active{pct}",
        "PCI.TriageCompute.pcie__read_bytes.sum",
        "PCI.TriageCompute.pcie__write_bytes.sum",
        f"SM_C.TriageCompute.smsp__pipe_tensor_op_dmma_cycles_active{pct}",
    ]


@pytest.mark.parametrize("chip", ["TU102", "GH100", "GA100", "GA102", "AD102"])
def test_the_oldest_library_gives_its_chips_nearly_as_much(choose, chip):
    for counter_set in SETS:
        old = choose(chip, "cuda_cupti").columns(counter_set)

        assert len(choose(chip).columns(counter_set) - old) <= 3
        assert {"sm_clock_mhz", "sm_active_pct"} < old


def test_a_chip_that_cupti_cannot_sample(built_pm):
    command = [built_pm.helper, "--choose-for", "GV100", "--libcupti", cupti_host.find("cu13")]
    answer = subprocess.run(
        command, input=plan_text(SETS), text=True, capture_output=True, check=False
    )

    assert answer.returncode != 0
    assert "CUPTI cannot sample the chip GV100" in answer.stderr


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        ("cycles sm__cycles_elapsed.max", "cycles sm__cycles_elapsed.max"),
        ("set throughput\nor", "or"),
        ("set throughput\nwant\nspeed sm__cycles_elapsed.max", "speed sm__cycles_elapsed.max"),
        ("set throughput\nwant\ncycles", "cycles"),
        ("set", "set"),
    ],
)
def test_a_plan_that_cannot_be_read_names_its_line(built_pm, plan, line):
    command = [built_pm.helper, "--choose-for", "GH100", "--libcupti", "libcupti.so"]
    answer = subprocess.run(command, input=plan, text=True, capture_output=True, check=False)

    assert answer.returncode == 2
    assert answer.stderr.strip().endswith(f"cannot read this line of the metric plan: {line}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--interval-us", "19", "--fd", "1"], "not a value for --interval-us: 19"),
        (["--fine", "yes"], "not a value for --fine: yes"),
        (["--fd"], "no value after --fd"),
        (["--speed", "1"], "unknown option --speed"),
        (["--libcupti", "libcupti.so"], "--fd and --libcupti are needed"),
        (["--fd", "1"], "--fd and --libcupti are needed"),
    ],
)
def test_options_that_cannot_be_used_are_named(built_pm, options, words):
    answer = subprocess.run(
        [built_pm.helper, *options], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )

    assert answer.returncode == 2
    assert words in answer.stderr.decode()
