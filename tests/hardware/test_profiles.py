"""Profiles: which source wins, what the device overrides, what is said and what is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import GnomonError
from gnomon.enums import Pipe
from gnomon.hardware import load, profile, sku_facts

H200 = {
    "name": "NVIDIA H200",
    "compute_capability": "9.0",
    "sm_count": 132,
    "memory_bus_bits": 6144,
    "max_sm_clock_mhz": 1980.0,
    "max_memory_clock_mhz": 3201.0,
    "pcie_generation_max": 5,
    "pcie_lanes_max": 16,
}


def test_an_h200_has_its_datasheets_peaks():
    it = profile(H200)

    assert (it.sku, it.peak_source, it.notes) == ("H200-SXM-141GB", "table", ())
    assert it.flops("bf16") == 989.4e12
    assert it.dram_bytes_per_s == 4800e9  # not the 4917 of clock x bus
    assert it.reference_clock_mhz(Pipe.TENSOR) == pytest.approx(1830, abs=0.1)
    assert it.nvlink_bytes_per_s == 450e9
    assert it.max_memory_clock_mhz == 3201.0
    assert it.tdp_watts == 700


# Measured on an H200, driver 580: percent of peak by pipe x NVML clock (reference 1830 or 1980),
# both clocks, and percent of peak by the program's own count.
MEASURED = [
    ("bf16 4096^3", Pipe.TENSOR, 1830, 72.7, 1489, 1346, 65.8),
    ("bf16 zeros", Pipe.TENSOR, 1830, 87.8, 1739, 1565, 78.1),
    ("tf32 8192^3", Pipe.TENSOR, 1830, 75.3, 1488, 1358, 68.8),
    ("fp64 4096^3", Pipe.FP64_TENSOR, 1980, 76.6, 1613, 1612, 76.7),
    ("fp32 8192^3", Pipe.FP32, 1980, 76.5, 1980, 1977, 76.5),
]


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: row[0])
def test_pipe_times_true_clock_gives_the_share_of_peak_that_the_program_counted(row):
    _, pipe, used_mhz, nvml_pct, nvml_mhz, true_mhz, program_pct = row
    pipe_active_pct = nvml_pct * used_mhz / nvml_mhz

    sol_pct = pipe_active_pct * true_mhz / profile(H200).reference_clock_mhz(pipe)

    assert sol_pct == pytest.approx(program_pct, rel=0.015)


def test_pcie_is_the_line_rate_of_the_configured_link():
    assert profile(H200).pcie_bytes_per_s == pytest.approx(63.015e9, rel=1e-4)
    assert profile(H200 | {"pcie_generation_max": 4}).pcie_bytes_per_s == pytest.approx(
        31.508e9, rel=1e-4
    )
    assert profile(H200 | {"pcie_lanes_max": 8}).pcie_bytes_per_s == pytest.approx(
        31.508e9, rel=1e-4
    )
    assert profile({"name": "NVIDIA H200"}).pcie_bytes_per_s == pytest.approx(63.015e9, rel=1e-4)
    assert profile(H200 | {"pcie_generation_max": 99}).pcie_bytes_per_s is None


def test_nvlink_counts_the_links_there_are():
    assert profile(H200 | {"nvlink_count": 18}).nvlink_bytes_per_s == 450e9
    assert profile(H200 | {"nvlink_count": 4}).nvlink_bytes_per_s == 100e9
    none = profile(H200 | {"nvlink_count": 0})
    assert none.nvlink_bytes_per_s is None
    assert "NVLink" in none.notes[0]


WITH_NVLINK = [
    spec
    for spec in load().values()
    if spec.nvlink_bytes_per_s and spec.rates.nvlink_bytes_per_s_per_link
]


@pytest.mark.parametrize("spec", WITH_NVLINK, ids=lambda spec: spec.sku)
def test_the_table_and_the_rate_of_a_link_agree_on_a_whole_number_of_links(spec):
    links = spec.nvlink_bytes_per_s / spec.rates.nvlink_bytes_per_s_per_link

    assert links in {4, 6, 8, 12, 18}


def test_the_device_wins_on_its_sm_count_and_the_clock_stays():
    it = profile(H200 | {"sm_count": 66})

    assert it.sm_count == 66
    assert it.flops("bf16") == pytest.approx(989.4e12 / 2)
    assert it.reference_clock_mhz(Pipe.TENSOR) == pytest.approx(1830, abs=0.1)
    assert it.dram_bytes_per_s == 4800e9
    assert "66 SMs" in it.notes[0]


def test_a_sku_without_sm_count_takes_the_devices():
    bare = profile({"name": "NVIDIA GB300"})
    known = profile({"name": "NVIDIA GB300", "sm_count": 148})

    assert bare.reference_clock_mhz(Pipe.TENSOR) is None
    assert "tensor" in bare.notes[0]
    assert bare.flops("bf16") == known.flops("bf16") == 2500e12
    assert known.reference_clock_mhz(Pipe.TENSOR) == pytest.approx(
        2500e12 / (148 * 8192 * 1e6), rel=1e-6
    )


def test_a_mig_device_has_the_share_of_its_slices():
    it = profile({"name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "sm_count": 16})

    assert it.flops("bf16") == pytest.approx(989.4e12 * 16 / 132)
    assert it.dram_bytes_per_s == 3350e9 / 8
    assert it.reference_clock_mhz(Pipe.TENSOR) == pytest.approx(1830, abs=0.1)
    assert it.nvlink_bytes_per_s is None
    assert "MIG" in it.notes[0]


def test_a_mig_device_that_hides_its_sms_has_no_flop_peak():
    it = profile({"name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb"})

    assert it.flops("bf16") is None
    assert it.sm_count is None
    assert "no FLOP peaks" in it.notes[1]


def test_an_instance_is_found_in_the_facts_of_its_gpu():
    facts = H200 | {
        "vram_total_bytes": 150 * 10**9,
        "mig_instances": {
            "MIG-a": {"sm_count": 60, "vram_total_bytes": 75 * 10**9},
            "MIG-b": {"gpu_instance_id": 2},
        },
    }
    whole, half, silent = (profile(facts, mig_uuid=uuid) for uuid in (None, "MIG-a", "MIG-b"))

    assert whole.flops("bf16") == 989.4e12
    assert (half.sm_count, half.dram_bytes_per_s) == (60, 2400e9)
    assert half.flops("bf16") == pytest.approx(989.4e12 * 60 / 132)
    assert half.reference_clocks_mhz == whole.reference_clocks_mhz
    assert half.pcie_bytes_per_s == whole.pcie_bytes_per_s
    assert (silent.sm_count, silent.flops("bf16"), silent.dram_bytes_per_s) == (None, None, None)
    assert profile(facts, mig_uuid="MIG-unheard-of").flops("bf16") is None
    unknown = profile(facts | {"name": "NVIDIA H300"}, mig_uuid="MIG-a")
    assert unknown.flops("bf16") == 60 * 4096 * 1980e6
    assert unknown.dram_bytes_per_s == pytest.approx(4917e9 / 2, rel=1e-3)


def test_an_unknown_gpu_is_computed_and_says_so():
    it = profile(H200 | {"name": "NVIDIA H300"})

    assert (it.sku, it.peak_source) == (None, "computed")
    assert it.flops("bf16") == 132 * 4096 * 1980e6
    assert it.dram_bytes_per_s == pytest.approx(4917e9, rel=1e-3)
    assert it.reference_clock_mhz(Pipe.FP16) == 1980
    assert "not in the GPU table" in it.notes[0]
    assert "132 SMs" in it.notes[0]


def test_geforce_boards_that_are_unknown_get_half_the_tensor_rate():
    facts = {"compute_capability": "8.9", "sm_count": 76, "max_sm_clock_mhz": 2505.0}
    geforce = profile(facts | {"name": "NVIDIA GeForce RTX 4080"})
    professional = profile(facts | {"name": "NVIDIA RTX 5000 Ada Generation"})

    # Ada whitepaper: RTX 4080, 97.5 TFLOP/s fp16 with fp32 accumulation, 48.7 fp32.
    assert geforce.flops("fp16") == pytest.approx(97.5e12, rel=0.002)
    assert geforce.flops("fp32") == pytest.approx(48.7e12, rel=0.002)
    assert professional.flops("fp16") == 2 * geforce.flops("fp16")


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("compute_capability", "compute capability unknown"),
        ("sm_count", "SM count"),
        ("max_sm_clock_mhz", "highest SM clock"),
    ],
)
def test_an_unknown_gpu_that_tells_too_little_has_no_peaks(lost, told):
    it = profile({k: v for k, v in H200.items() if k != lost} | {"name": "NVIDIA H300"})

    assert it.flops("bf16") is None
    assert it.reference_clock_mhz(Pipe.TENSOR) is None
    assert told in it.notes[0]


def test_calibration_wins_over_the_table_and_keeps_flops_consistent():
    it = profile(H200, {"flops": {"bf16": 788e12}, "pcie_bytes_per_s": 55e9})
    table = profile(H200)

    assert it.peak_source == "calibrated"
    assert it.flops("bf16") == pytest.approx(788e12)
    assert it.pcie_bytes_per_s == 55e9
    # Pipe active x clock / reference x peak is the work done, whichever peak stands below it.
    work = [p.flops("fp8") / p.reference_clock_mhz(Pipe.TENSOR) for p in (it, table)]
    assert work[0] == pytest.approx(work[1])
    assert it.flops("fp64") == table.flops("fp64")
    assert it.dram_bytes_per_s == 4800e9
    assert "79.6 %" in it.notes[-1]


def test_calibration_of_what_is_not_known_changes_nothing():
    assert profile(H200, {"flops": {"bf16": None, "fp99": 1e12}}) == profile(H200)


@pytest.mark.parametrize("sku", load())
def test_the_facts_of_a_sku_give_its_own_profile(sku):
    it = profile(sku_facts(sku))

    assert (it.sku, it.peak_source) == (sku, "table")
    assert it.flops("fp16") == load()[sku].peak_flops["fp16"]


def test_facts_of_an_unknown_sku_are_refused():
    with pytest.raises(GnomonError, match="no GPU 'H300'"):
        sku_facts("H300")


odd = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=8), st.booleans())


@given(st.dictionaries(st.sampled_from([*H200, "nvlink_count", "sku", "mig_uuid"]), odd))
def test_odd_facts_never_fail_and_never_give_a_peak_of_nothing(facts):
    it = profile(facts)

    for value in (*it.peak_flops.values(), *it.reference_clocks_mhz.values()):
        assert value > 0
    assert it.dram_bytes_per_s is None or it.dram_bytes_per_s > 0
    assert it.pcie_bytes_per_s is None or it.pcie_bytes_per_s > 0


@pytest.mark.parametrize("pipe", Pipe)
def test_every_pipe_of_an_h200_has_a_peak(pipe):
    assert profile(H200).pipe_flops(pipe) > 0
