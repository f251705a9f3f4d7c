"""Which CUPTI metrics are wished for, in which order; gnomon-pm grants what a chip's pass holds.

PM sampling takes whatever fits into a single pass, and the names differ by chip and by version of
CUPTI. So there is one list a counter set, the most important wish first, each with the names it
may have. The helper goes down the list and asks CUPTI's host library, with the counters that the
driver offers: a wish is granted by its first alternative that is known, still fits the pass, and
keeps the counters wide. This needs no GPU: tests/sources/test_pm_metrics.py does it for every chip.

Why these: ``sm__cycles_elapsed.max`` over a sample's length is the true SM clock, and the weight
that makes a row's percentage times its clock exact. ``_realtime`` counters and the ``Triage``
groups are those that NVIDIA made for sampling.

Why no more: a TPC holds four counter units of full width (on an H200 an FMA metric takes two).
With a fifth, CUPTI switches its counters to a narrow kind that spills while the SMs work, and
reading them took 16 to 25 % of a core on an H200 instead of 1 to 2.5
(docs/measurements/pm_sampling.md). The switch shows without a GPU: the config image grows smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon import tables
from gnomon.enums import CounterSet

# Cycles per ns to MHz, bytes per ns to bytes/s.
_SCALES = {"cycles": 1e3, "link": 1e9}
_PCT = ".avg.pct_of_peak_sustained_elapsed"
# cupti_pmsampling.h: the trigger of fixed time is missing on Turing and GA100. There the system
# clock paces the samples, and only the samples' own timestamps tell their length.
PACED_BY_CLOCK = ("TU102", "TU104", "TU106", "TU116", "TU117", "GA100")
# What a column of samples is divided by; no column itself.
_REQUESTS = "requests"
# Columns of `gpu_counters` that have another name in `pm_samples`.
_SAMPLED_AS = {"fp32_active_pct": "fma_active_pct"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One hardware metric, the column it fills, and how samples of it are averaged.

    ``role`` is a word of native/gnomon_pm/plan.h. Several metrics of one column are averaged
    (percentages of twin pipes) or added (bytes).
    """

    column: str
    role: str
    name: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wished for: the first alternative that fits is taken, whole."""

    alternatives: tuple[tuple[Metric, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it fills."""
        return tuple(dict.fromkeys(metric.column for metric in self.alternatives[0]))


def _sm(column: str, *names: str) -> Wish:
    role = "sm_active" if column == "sm_active_pct" else "sm_pct"
    return Wish(tuple((Metric(column, role, name + _PCT),) for name in names))


def _time(column: str, *names: str) -> Wish:
    return Wish(tuple((Metric(column, "time_pct", name + _PCT),) for name in names))


def _rate(column: str, *names: str) -> Wish:
    return Wish(tuple((Metric(column, "time_pct", name + ".pct"),) for name in names))


def _links(columns: tuple[str, str], *pairs: tuple[str, str]) -> Wish:
    return Wish(
        tuple(
            tuple(
                Metric(column, "link", name + ".sum")
                for column, name in zip(columns, pair, strict=True)
            )
            for pair in pairs
        )
    )


def _dram(*prefixes: str) -> Wish:
    parts = {
        "dram_active_pct": "throughput",
        "dram_read_pct": "read_throughput",
        "dram_write_pct": "write_throughput",
    }
    return Wish(
        tuple(
            tuple(
                Metric(column, "time_pct", prefix + part + _PCT) for column, part in parts.items()
            )
            for prefix in prefixes
        )
    )


def _names(unit: str, *parts: str) -> tuple[str, ...]:
    """Return the names of a metric, in the group made for sampling compute first."""
    return tuple(group + part for group in (f"{unit}.TriageCompute.", "") for part in parts)


# The largest of the SMs' counts: an SM that the driver has fused off or gated reads 0.
_CYCLES = Wish(((Metric("sm_clock_mhz", "cycles", "sm__cycles_elapsed.max"),),))
_SM_ACTIVE = _sm(
    "sm_active_pct",
    *_names("TPC", "sm__cycles_active"),
    "SM.TriageA.sm__cycles_active",
    "SM_A.TriageTop.sm__cycles_active",
)
_TENSOR = _sm(
    "tensor_active_pct",
    *_names("TPC", "sm__pipe_tensor_cycles_active_realtime"),
    "sm__pipe_tensor_cycles_active",
    "SM_C.TriageTop.smsp__pipe_tensor_cycles_active",
)
_DRAM = _dram(
    "FBSP.TriageCompute.dramc__", "FBSP.TriageCompute.dram__", "dramc__", "dram__",
    "FBPA.TriageA.dramc__",
)  # fmt: skip
# Two pipes of 64 lanes make up the fp32 pipe of GA10x and AD10x; its load is their mean.
_TWIN_FMA = tuple(
    Metric("fp32_active_pct", "sm_pct", f"sm__inst_executed_pipe_{part}_realtime{_PCT}")
    for part in ("fmaheavy", "fmalite")
)
_FMA = Wish(
    (
        *_sm(
            "fp32_active_pct",
            "TPC.TriageCompute.sm__inst_executed_pipe_fma_realtime",
            "TPC.TriageCompute.sm__pipe_fma_cycles_active_realtime",
            "sm__pipe_fma_cycles_active_realtime",
        ).alternatives,
        _TWIN_FMA,
        *_sm(
            "fp32_active_pct",
            "sm__inst_executed_pipe_fma_realtime",
            "SM.TriageA.sm__inst_executed_pipe_fma_realtime",
            "sm__pipe_fma_cycles_active",
        ).alternatives,
    )
)
_ENGINE = _time(
    "engine_active_pct",
    *_names("FE_B", "gr__cycles_active"),
    "FE_A.TriageA.gr__cycles_active",
)
# Seen from the GPU: it reads the host's memory to receive, and writes it to send.
_PCIE = _links(
    ("pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s"),
    *((f"{prefix}pcie__read_bytes", f"{prefix}pcie__write_bytes")
      for prefix in ("PCI.TriageCompute.", "", "PCI.TriageA.")),
)  # fmt: skip
# A GPU whose NVLinks are absent or hidden does not know them.
_NVLINK = _links(
    ("nvlink_rx_bytes_per_s", "nvlink_tx_bytes_per_s"), ("nvlrx__bytes", "nvltx__bytes")
)
_DMMA = _sm(
    "tensor_dmma_active_pct",
    "SM_C.TriageCompute.smsp__pipe_tensor_op_dmma_cycles_active",
    "SM_C.TriageCompute.smsp__pipe_tensor_subpipe_dmma_cycles_active",
)
_HMMA = _sm(
    "tensor_hmma_active_pct",
    *_names(
        "TPC",
        "sm__pipe_tensor_op_hmma_cycles_active_realtime",
        "sm__pipe_tensor_subpipe_hmma_cycles_active_realtime",
    ),
)
_IMMA = _sm(
    "tensor_imma_active_pct",
    *_names(
        "TPC",
        "sm__pipe_tensor_op_imma_cycles_active_realtime",
        "sm__pipe_tensor_subpipe_imma_cycles_active_realtime",
    ),
)
_OCCUPANCY = _sm(
    "sm_occupancy_pct",
    *_names("TPC", "tpc__warps_active_realtime", "tpc__warps_active_shader_cs_realtime"),
    "TPC.TriageA.tpc__warps_active_realtime",
)
_FP64 = _sm(
    "fp64_active_pct",
    *_names("TPC", "sm__pipe_fp64_cycles_active_realtime"),
    "sm__pipe_fp64_cycles_active",
)
_ISSUE = _sm(
    "issue_active_pct",
    *_names("TPC", "sm__inst_executed_realtime"),
    "SM.TriageA.sm__inst_executed_realtime",
    "SM_A.TriageTop.sm__inst_executed_realtime",
)
_ALU = _sm(
    "alu_active_pct",
    *_names("TPC", "sm__inst_executed_pipe_alu_realtime"),
    "SM.TriageA.sm__inst_executed_pipe_alu_realtime",
    "SM_A.TriageTop.sm__inst_executed_pipe_alu_realtime",
)
_L2 = _time(
    "l2_active_pct",
    *_names("LTS", "lts__t_sector_throughput", "lts__throughput"),
    "LTS.TriageA.lts__throughput",
    "lts__t_sectors",
)
_L2_HITS = _rate(
    "l2_hit_pct",
    *_names("LTS", "lts__average_t_sector_hit_rate_realtime"),
    "lts__t_sector_hit_rate",
)
_L1 = _sm(
    "l1_active_pct",
    "SM_A.TriageCompute.l1tex__throughput",
    "l1tex__throughput",
    "SM.TriageA.l1tex__throughput",
    "SM_A.TriageTop.l1tex__throughput",
    # No throughput as such fits a pass here: the stage that every access goes through.
    "l1tex__lsu_writeback_active",
)
_L1_HITS = _rate(
    "l1_hit_pct",
    *_names("SM_B", "l1tex__t_sector_hit_rate"),
    "TriageA.l1tex__t_sector_hit_rate_realtime",
)
_SHARED = _sm(
    "shared_active_pct",
    "SM_A.TriageCompute.l1tex__data_pipe_lsu_wavefronts_mem_shared",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared_realtime",
    "SM.TriageA.l1tex__data_pipe_lsu_wavefronts_mem_shared",
    "SM_A.TriageTop.l1tex__data_pipe_lsu_wavefronts_mem_shared_realtime",
)
# Of L2: what CUPTI counts of requests to L1 includes those to shared memory.
_SECTORS = Wish(
    (
        (
            Metric("sectors_per_request", "count", "lts__t_sectors.sum"),
            Metric(_REQUESTS, "count", "lts__t_requests.sum"),
        ),
    )
)
WISHES: Mapping[CounterSet, tuple[Wish, ...]] = {
    CounterSet.THROUGHPUT: (
        _CYCLES, _SM_ACTIVE, _TENSOR, _DRAM, _FMA, _ENGINE, _PCIE, _NVLINK, _DMMA, _OCCUPANCY,
        _FP64,
    ),
    CounterSet.CACHES: (_CYCLES, _SM_ACTIVE, _L2, _L2_HITS, _L1_HITS, _L1, _SHARED, _SECTORS),
    CounterSet.INSTRUCTIONS: (
        _CYCLES, _SM_ACTIVE, _ISSUE, _OCCUPANCY, _ALU, _SHARED, _L1, _FP64, _HMMA, _IMMA, _DMMA,
        _FMA,
    ),
}  # fmt: skip


def wanted(sets: Sequence[CounterSet]) -> tuple[Metric, ...]:
    """Return every metric of the sets, in the order of ``plan_text``: gnomon-pm counts them."""
    return tuple(
        metric
        for each in sets
        for wish in WISHES[each]
        for alternative in wish.alternatives
        for metric in alternative
    )


def plan_text(sets: Sequence[CounterSet]) -> str:
    """Spell counter sets in the language that gnomon-pm reads on its standard input."""
    lines = ["paced-by-clock " + " ".join(PACED_BY_CLOCK)]
    for each in sets:
        lines.append(f"set {each}")
        for wish in WISHES[each]:
            for number, alternative in enumerate(wish.alternatives):
                lines.append("or" if number else "want")
                lines.extend(f"{metric.role} {metric.name}" for metric in alternative)
    return "\n".join(lines) + "\n"


def column_values(
    metrics: Sequence[Metric], sums: Sequence[float], weights: Sequence[float]
) -> Mapping[str, float]:
    """Turn a row's sums and weights into columns: percentages (0 to 100), bytes/s, MHz.

    The weight of a percentage is cycles or ns, that of a count ns. A column whose weight is 0
    (a unit whose clock stood still all row long) is left out.
    """
    values: dict[str, list[float]] = {}
    for metric, total, weight in zip(metrics, sums, weights, strict=True):
        if weight > 0:
            scale = _SCALES.get(metric.role, 1.0)
            values.setdefault(metric.column, []).append(scale * total / weight)
    roles = {metric.column: metric.role for metric in metrics}
    return {
        column: sum(parts) if roles[column] == "link" else sum(parts) / len(parts)
        for column, parts in values.items()
    }


def sampled_columns(
    metrics: Sequence[Metric], values: Sequence[Any], lengths_ns: Any
) -> dict[str, Any]:
    """Turn samples into columns of `pm_samples`; what that table does not keep is left out.

    ``values``: an array of the samples of each metric; ``lengths_ns``: of their lengths. Where a
    unit's clock stood still a value is NaN.
    """
    kept: dict[str, list[Any]] = {}
    for metric, samples in zip(metrics, values, strict=True):
        scaled = samples * _SCALES["cycles"] / lengths_ns if metric.role == "cycles" else samples
        kept.setdefault(_SAMPLED_AS.get(metric.column, metric.column), []).append(scaled)
    columns = {column: sum(parts) / len(parts) for column, parts in kept.items()}
    if _REQUESTS in columns:
        columns["sectors_per_request"] = columns["sectors_per_request"] / columns[_REQUESTS]
    return {
        column: values
        for column, values in columns.items()
        if column in tables.TABLES["pm_samples"].column_names
    }
