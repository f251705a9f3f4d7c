"""The verdict: one plain sentence that says what bounds a GPU, with the numbers that show it."""

from __future__ import annotations

from gnomon.analysis.bounds import THRESHOLDS
from gnomon.analysis.summary_types import GpuSummary, doubt
from gnomon.enums import BoundBy, ThrottleReason

PIPE_NAMES = {
    "tensor": "tensor",
    "fp64_tensor": "fp64 tensor",
    "fp64": "fp64",
    "fp32": "fp32",
    "fp16": "fp16",
}
THROTTLE_NAMES = {
    ThrottleReason.SW_POWER_CAP: "the power cap",
    ThrottleReason.HW_SLOWDOWN: "a hardware slowdown",
    ThrottleReason.SYNC_BOOST: "sync boost",
    ThrottleReason.SW_THERMAL: "the software thermal limit",
    ThrottleReason.HW_THERMAL: "the hardware thermal limit",
    ThrottleReason.HW_POWER_BRAKE: "the power brake",
    ThrottleReason.CLOCKS_SETTING: "the clocks setting",
    ThrottleReason.DISPLAY_CLOCK: "the display clock setting",
}
WORTH_SAYING_PCT = 5.0


def verdict(summary: GpuSummary) -> str:
    """Return one sentence on a summary whose numbers and ``bound_by`` are already there."""
    if summary.samples == 0:
        return "no samples in this window"
    if summary.bound_by is None:
        return _without_counters(summary)
    return _SENTENCES[BoundBy(summary.bound_by)](summary)


def _without_counters(summary: GpuSummary) -> str:
    reason = summary.unavailable.get("compute_sol_pct", "no hardware counters")
    if summary.busy_pct is None:
        return f"unknown: {reason}"
    return f"busy {summary.busy_pct:.0f} %, but how close to peak is unknown: {reason}"


def _idle(summary: GpuSummary) -> str:
    idle = summary.ledger.idle_pct or 0.0
    if idle < 99.0:
        return f"idle: nothing ran {idle:.0f} % of the time, in long stretches"
    return "idle: nothing ran"


def _host(summary: GpuSummary) -> str:
    text = f"starved: the GPU had nothing to run {summary.ledger.idle_pct or 0.0:.0f} % of the time"
    thread = summary.busiest_thread_cpu_pct
    if thread is None:
        return text
    if thread >= THRESHOLDS["busy_thread_pct"].value:
        return f"{text}; its busiest host thread is at {thread:.0f} % of a core"
    return f"{text}, and no host thread is short of CPU (busiest {thread:.0f} % of a core)"


def _copy(summary: GpuSummary) -> str:
    copying = summary.ledger.copying_pct or 0.0
    received = summary.pcie_rx_bytes_per_s or 0.0
    sent = summary.pcie_tx_bytes_per_s or 0.0
    rate, way = (received, "in") if received >= sent else (sent, "out")
    return (
        f"copying: PCIe moved data {copying:.0f} % of the time ({rate / 1e9:.1f} GB/s {way}) "
        "while nothing computed"
    )


def _communication(summary: GpuSummary) -> str:
    rate = max(summary.nvlink_rx_bytes_per_s or 0.0, summary.nvlink_tx_bytes_per_s or 0.0)
    share = summary.nvlink_sol_pct
    of_peak = f", {share:.0f} % of its line rate" if share is not None else ""
    return f"communication-bound: NVLink at {rate / 1e9:,.0f} GB/s{of_peak}"


def _memory(summary: GpuSummary) -> str:
    rate = summary.dram_bytes_per_s
    at = f", {rate / 1e9:,.0f} GB/s" if rate is not None else ""
    text = f"memory-bound: DRAM at {summary.memory_sol_pct or 0.0:.0f} % of peak{at}"
    return f"{text}; compute waits for memory{_starved_too(summary)}"


def _compute(summary: GpuSummary) -> str:
    at = {"<=": "no more than", "~": "at about"}.get(doubt(summary), "at")
    text = (
        f"compute-bound: {PIPE_NAMES.get(summary.pipe or '', summary.pipe)} pipe "
        f"{at} {summary.compute_sol_pct or 0.0:.0f} % of peak"
    )
    costs = (
        ("padding", summary.ledger.padding_pct),
        ("stalls", summary.ledger.stalled_pct),
        (_throttle(summary), summary.ledger.clock_pct),
    )
    losses = [
        f"{name} {cost:.0f} %"
        for name, cost in sorted(costs, key=lambda one: -(one[1] or 0.0))
        if (cost or 0.0) >= WORTH_SAYING_PCT
    ]
    return text + ("; lost to " + ", ".join(losses) if losses else "") + _starved_too(summary)


def _clock(summary: GpuSummary) -> str:
    pipe = PIPE_NAMES.get(summary.pipe or "", summary.pipe)
    loss = summary.ledger.clock_pct or 0.0
    at_least = {"<=": "at least ", "~": "about "}.get(doubt(summary), "")
    return (
        f"throttled: {_throttle(summary)} holds the SM clock at {summary.sm_clock_mhz or 0.0:,.0f} "
        f"of {summary.reference_clock_mhz or 0.0:,.0f} MHz and costs {at_least}{loss:.0f} % of "
        f"peak; the {pipe} pipe is active {summary.pipe_active_pct or 0.0:.0f} % of cycles"
    )


def _latency(summary: GpuSummary) -> str:
    empty = summary.ledger.sm_empty_pct or 0.0
    stalled = summary.ledger.stalled_pct or 0.0
    busy = f"busy {summary.busy_pct:.0f} %, yet " if summary.busy_pct is not None else ""
    if empty >= stalled:
        return (
            f"underfilled: {busy}SMs stand empty {empty:.0f} % of the time: grids too small, or "
            "kernels too short"
        )
    return (
        f"latency-bound: {busy}SMs hold work that does not issue {stalled:.0f} % of the time, "
        f"with DRAM at {summary.memory_sol_pct or 0.0:.0f} % and the pipe at "
        f"{summary.pipe_active_pct or 0.0:.0f} %"
    )


def _throttle(summary: GpuSummary) -> str:
    for reason in summary.throttle_reasons:
        if reason in THROTTLE_NAMES:
            return THROTTLE_NAMES[ThrottleReason(reason)]
    return "a clock below reference"


def _starved_too(summary: GpuSummary) -> str:
    idle = summary.ledger.idle_pct or 0.0
    return f"; idle {idle:.0f} % of the time" if idle >= WORTH_SAYING_PCT else ""


_SENTENCES = {
    BoundBy.IDLE: _idle,
    BoundBy.HOST: _host,
    BoundBy.COPY: _copy,
    BoundBy.COMMUNICATION: _communication,
    BoundBy.MEMORY: _memory,
    BoundBy.COMPUTE: _compute,
    BoundBy.CLOCK: _clock,
    BoundBy.LATENCY: _latency,
}
