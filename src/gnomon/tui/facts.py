"""The facts beside the bars: clock, power, heat, memory, links, host, as short texts. Pure."""

from __future__ import annotations

from rich.text import Text

from gnomon.analysis.summary_types import doubt
from gnomon.enums import ThrottleReason
from gnomon.tui import palette
from gnomon.tui.figures import MISSING, gib, of, pct, rate, whole
from gnomon.tui.snapshot import GpuView

THROTTLE_WORDS = {
    ThrottleReason.GPU_IDLE: "idle clocks",
    ThrottleReason.CLOCKS_SETTING: "clocks setting",
    ThrottleReason.SW_POWER_CAP: "power cap",
    ThrottleReason.HW_SLOWDOWN: "hardware slowdown",
    ThrottleReason.SYNC_BOOST: "sync boost",
    ThrottleReason.SW_THERMAL: "thermal limit",
    ThrottleReason.HW_THERMAL: "hardware thermal limit",
    ThrottleReason.HW_POWER_BRAKE: "power brake",
    ThrottleReason.DISPLAY_CLOCK: "display clock",
}
CALM_REASONS = frozenset({ThrottleReason.GPU_IDLE.value, ThrottleReason.CLOCKS_SETTING.value})
HOT_CELSIUS = 85.0


def pair(label: str, value: str, style: str = palette.TEXT) -> Text:
    """``label value`` with the label dimmed; a missing value is faint."""
    text = Text(f"{label} ", style=palette.DIM)
    text.append(value, style=palette.FAINT if value == MISSING else style)
    return text


def joined(parts: list[Text], gap: str = "  ") -> Text:
    return Text(gap).join(part for part in parts if part.plain)


def short_name(view: GpuView) -> str:
    return view.summary.name.removeprefix("NVIDIA ").removesuffix(" HBM3").strip()


def power_limit_watts(view: GpuView) -> float | None:
    limit = view.summary.power_limit_watts
    return view.facts.get("power_limit_watts") if limit is None else limit


def vram_total_bytes(view: GpuView) -> float | None:
    total = view.summary.vram_total_bytes
    return view.facts.get("vram_total_bytes") if total is None else total


def throttle(view: GpuView) -> Text:
    """The reasons in words; what is only idleness or policy stays calm."""
    text = Text()
    for reason in view.summary.throttle_reasons:
        if text.plain:
            text.append(", ", style=palette.DIM)
        style = palette.DIM if reason in CALM_REASONS else palette.WARNING
        words = THROTTLE_WORDS.get(ThrottleReason(reason), reason) if _known(reason) else reason
        text.append(words, style=style)
    return text


def _known(reason: str) -> bool:
    return reason in set(ThrottleReason)


def clock(view: GpuView) -> Text:
    """``clock 1,541/1,830 MHz (nvml, at most)  power cap``."""
    summary = view.summary
    text = pair("clock", of(summary.sm_clock_mhz, summary.reference_clock_mhz, "MHz"))
    if summary.sm_clock_mhz is not None and summary.sm_clock_source:
        at_most = {"<=": ", at most", "~": ", estimated"}.get(doubt(summary), "")
        text.append(f" ({summary.sm_clock_source}{at_most})", style=palette.DIM)
    reasons = throttle(view)
    return joined([text, reasons])


def power(view: GpuView) -> Text:
    return pair("power", of(view.summary.power_watts, power_limit_watts(view), "W"))


def heat(view: GpuView) -> Text:
    value = view.summary.temperature_celsius
    style = palette.WARNING if value is not None and value >= HOT_CELSIUS else palette.TEXT
    return pair("temp", f"{whole(value)} °C" if value is not None else MISSING, style)


def vram(view: GpuView) -> Text:
    used, total = view.summary.vram_used_bytes, vram_total_bytes(view)
    if used is None:
        return pair("VRAM", MISSING)
    return pair("VRAM", f"{gib(used)}/{gib(total)} GiB" if total else f"{gib(used)} GiB")


def links(view: GpuView) -> list[Text]:
    return [_link(view, "pcie", "PCIe"), _link(view, "nvlink", "NVLink")]


def _link(view: GpuView, name: str, label: str) -> Text:
    """``PCIe in 75 out 11 MB/s``; one dash where neither way was measured."""
    received = getattr(view.summary, f"{name}_rx_bytes_per_s")
    sent = getattr(view.summary, f"{name}_tx_bytes_per_s")
    if received is None and sent is None:
        return pair(label, MISSING)
    ways = [rate(received), rate(sent)]
    if ways[0].split(" ")[1:] == ways[1].split(" ")[1:]:
        ways[0] = ways[0].split(" ")[0]
    return pair(label, f"in {ways[0]} out {ways[1]}")


def host(view: GpuView) -> Text:
    """CPU of the host and the busiest thread of this GPU's processes."""
    summary = view.summary
    cpu = MISSING if summary.cpu_pct is None else f"{pct(summary.cpu_pct, 0)} %"
    thread = summary.busiest_thread_cpu_pct
    busiest = MISSING if thread is None else f"{pct(thread, 0)} % of a core"
    if thread is not None and view.thread_name:
        busiest += f" ({view.thread_name})"
    style = palette.WARNING if thread is not None and thread >= 80 else palette.TEXT
    return joined([pair("host CPU", cpu), pair("busiest thread", busiest, style)])
