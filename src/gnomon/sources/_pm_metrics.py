"""Which CUPTI metrics are sampled on which chip: one table, one pass each.

PM sampling takes whatever fits into a single pass, and the names differ by chip. A chip has
metric sets from the richest to the poorest; the helper takes the first that needs one pass with
the counters that the driver offers. The pass counts of this table are tested without a GPU
against the real library (tests/sources/test_pm_metrics.py).

Why these: ``sm__cycles_elapsed.max`` over a sample's length is the true SM clock, and the weight
that makes a row's percentage times its clock exact. ``_realtime`` counters and the ``Triage``
groups are those that NVIDIA made for sampling.

Why no more: a TPC holds four counter units of full width (an FMA metric takes two). With a fifth,
CUPTI switches its counters to a narrow kind that spills while the SMs work, and reading them
took 16 to 25 % of a core on an H200 instead of 1 to 2.5 (docs/measurements/pm_sampling.md). The
switch shows without a GPU: the config image grows smaller. A test holds every set against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_PCT = ".avg.pct_of_peak_sustained_elapsed"


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
class MetricSet:
    """The metrics of one pass on one chip; ``trigger`` is what paces the samples."""

    chip: str
    trigger: str
    metrics: tuple[Metric, ...]


def _sm(column: str, name: str) -> Metric:
    return Metric(column, "sm_active" if column == "sm_active_pct" else "sm_pct", name + _PCT)


def _time(column: str, name: str) -> Metric:
    return Metric(column, "time_pct", name + _PCT)


def _link(column: str, name: str) -> Metric:
    return Metric(column, "link", name + ".sum")


# The largest of the SMs' counts: an SM that the driver has fused off or gated reads 0.
_CYCLES = Metric("sm_clock_mhz", "cycles", "sm__cycles_elapsed.max")


def _dram(prefix: str) -> tuple[Metric, ...]:
    return (
        _time("dram_active_pct", prefix + "throughput"),
        _time("dram_read_pct", prefix + "read_throughput"),
        _time("dram_write_pct", prefix + "write_throughput"),
    )


def _pcie(prefix: str) -> tuple[Metric, ...]:
    # Seen from the GPU: it reads the host's memory to receive, and writes it to send.
    return (
        _link("pcie_rx_bytes_per_s", prefix + "pcie__read_bytes"),
        _link("pcie_tx_bytes_per_s", prefix + "pcie__write_bytes"),
    )


_NVLINK = (
    _link("nvlink_rx_bytes_per_s", "nvlrx__bytes"),
    _link("nvlink_tx_bytes_per_s", "nvltx__bytes"),
)
_TPC = "TPC.TriageCompute."
_TRIAGE_ENGINE = _time("engine_active_pct", "FE_B.TriageCompute.gr__cycles_active")
_TRIAGE_PCIE = _pcie("PCI.TriageCompute.")

_HOPPER = (
    _CYCLES,
    _sm("sm_active_pct", _TPC + "sm__cycles_active"),
    _sm("tensor_active_pct", _TPC + "sm__pipe_tensor_cycles_active_realtime"),
    _sm("fp32_active_pct", _TPC + "sm__inst_executed_pipe_fma_realtime"),
    *_dram("FBSP.TriageCompute.dramc__"),
)
_DMMA = _sm("tensor_dmma_active_pct", "SM_C.TriageCompute.smsp__pipe_tensor_op_dmma_cycles_active")

_BLACKWELL = (
    _CYCLES,
    _sm("sm_active_pct", _TPC + "sm__cycles_active"),
    _sm("tensor_active_pct", _TPC + "sm__pipe_tensor_cycles_active_realtime"),
    _sm("fp32_active_pct", _TPC + "sm__pipe_fma_cycles_active_realtime"),
    *_dram("FBSP.TriageCompute.dram__"),
)

_PLAIN_SM = (
    _CYCLES,
    _sm("sm_active_pct", "sm__cycles_active"),
    _sm("tensor_active_pct", "sm__pipe_tensor_cycles_active_realtime"),
)
_PLAIN_ENGINE = _time("engine_active_pct", "gr__cycles_active")
_OCCUPANCY = _sm("sm_occupancy_pct", "tpc__warps_active_realtime")
# Two pipes of 64 lanes make up the fp32 pipe of these chips; its load is their mean.
_TWIN_FMA = (
    _sm("fp32_active_pct", "sm__inst_executed_pipe_fmaheavy_realtime"),
    _sm("fp32_active_pct", "sm__inst_executed_pipe_fmalite_realtime"),
)
_FMA_CYCLES = _sm("fp32_active_pct", "sm__pipe_fma_cycles_active_realtime")
_FMA_INSTRUCTIONS = _sm("fp32_active_pct", "sm__inst_executed_pipe_fma_realtime")
_PLAIN_FP64 = _sm("fp64_active_pct", "sm__pipe_fp64_cycles_active")

# Chips of one family, what paces their samples, then the metric sets, best first. The fixed-time
# trigger is missing on GA100 (cupti_pmsampling.h): there the system clock paces the samples, and
# only the samples' own timestamps tell their length.
_FAMILIES: tuple[tuple[tuple[str, ...], str, tuple[tuple[Metric, ...], ...]], ...] = (
    (
        ("GH100",),
        "time",
        (
            # A GPU without NVLink does not know the link counters: the next set serves it.
            (*_HOPPER, _TRIAGE_ENGINE, *_TRIAGE_PCIE, *_NVLINK, _DMMA),
            (*_HOPPER, _TRIAGE_ENGINE, *_TRIAGE_PCIE, _DMMA),
            (*_HOPPER, _TRIAGE_ENGINE),
        ),
    ),
    (
        ("GB100", "GB102", "GB110"),
        "time",
        (
            (*_BLACKWELL, _TRIAGE_ENGINE, *_TRIAGE_PCIE, *_NVLINK),
            (*_BLACKWELL, _TRIAGE_ENGINE, *_TRIAGE_PCIE),
            (*_BLACKWELL, _TRIAGE_ENGINE),
        ),
    ),
    (
        ("GB202", "GB203", "GB205", "GB206", "GB207"),
        "time",
        (
            (*_PLAIN_SM, _OCCUPANCY, _FMA_CYCLES, *_dram("dram__"), _PLAIN_ENGINE, *_pcie("")),
            (*_PLAIN_SM, *_dram("dram__")),
        ),
    ),
    (
        ("AD102", "AD103", "AD104", "AD106", "AD107", "GA102", "GA103", "GA104", "GA106", "GA107"),
        "time",
        (
            (*_PLAIN_SM, *_TWIN_FMA, *_dram("dramc__"), _PLAIN_ENGINE, *_pcie("")),
            (*_PLAIN_SM, *_dram("dramc__")),
        ),
    ),
    (
        ("GA100",),
        "clock",
        (
            (
                *_PLAIN_SM,
                _OCCUPANCY,
                _FMA_INSTRUCTIONS,
                _PLAIN_FP64,
                *_dram("dramc__"),
                _PLAIN_ENGINE,
                *_pcie(""),
                *_NVLINK,
            ),
            (*_PLAIN_SM, *_dram("dramc__")),
        ),
    ),
)


def metric_sets() -> tuple[MetricSet, ...]:
    """Return every metric set, a chip's own from the best to the poorest."""
    return tuple(
        MetricSet(chip, trigger, metrics)
        for chips, trigger, sets in _FAMILIES
        for chip in chips
        for metrics in sets
    )


def plan_text(sets: tuple[MetricSet, ...]) -> str:
    """Spell metric sets in the language that gnomon-pm reads on its standard input."""
    lines: list[str] = []
    for each in sets:
        lines.append(f"chip {each.chip} {each.trigger}")
        lines.extend(f"{metric.role} {metric.name}" for metric in each.metrics)
    return "\n".join(lines) + "\n"


def column_values(
    metrics: tuple[Metric, ...], sums: tuple[float, ...], weights: tuple[float, ...]
) -> Mapping[str, float]:
    """Turn a row's sums and weights into columns: percentages (0 to 100), bytes/s, MHz.

    The weight of a percentage is cycles or ns, that of a count ns. A column whose weight is 0
    (a unit whose clock stood still all row long) is left out.
    """
    values: dict[str, list[float]] = {}
    for metric, total, weight in zip(metrics, sums, weights, strict=True):
        if weight > 0:
            values.setdefault(metric.column, []).append(_scale(metric.role) * total / weight)
    return dict(_joined(metrics, values))


def _scale(role: str) -> float:
    if role == "cycles":
        return 1e3  # cycles per ns to MHz
    return 1e9 if role in ("bytes", "link") else 1.0  # bytes per ns to bytes/s


def _joined(
    metrics: tuple[Metric, ...], values: Mapping[str, list[float]]
) -> Iterator[tuple[str, float]]:
    roles = {metric.column: metric.role for metric in metrics}
    for column, parts in values.items():
        total = sum(parts)
        yield column, total if roles[column] in ("bytes", "link") else total / len(parts)
