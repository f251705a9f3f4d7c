"""Hand-made summaries and a feed in memory, for tests of what the screen shows."""

import threading
from dataclasses import replace

from gnomon.analysis.processes import ProcessRow
from gnomon.analysis.summary_types import ComputeLedger, GpuSummary, MemoryLedger
from gnomon.recording.base import Meta, Unavailable
from gnomon.tui.gather import Questions
from gnomon.tui.snapshot import GpuView, Series, Snapshot, Span

S = 1_000_000_000
START_NS = 1_795_202_000 * S
END_NS = START_NS + 300 * S
UUID = "GPU-0"


def summary(uuid=UUID, to_ns=END_NS, **changes):
    """An H200 in prefill under its power cap: the numbers are of a real measurement."""
    made = GpuSummary(
        uuid=uuid,
        name="NVIDIA H200",
        from_ns=to_ns - 5 * S,
        to_ns=to_ns,
        samples=50,
        busy_pct=99.6,
        engine_active_pct=99.6,
        sm_active_pct=97.3,
        pipe="tensor",
        pipe_active_pct=65.9,
        sm_clock_mhz=1541.0,
        reference_clock_mhz=1830.0,
        compute_sol_pct=55.5,
        memory_sol_pct=26.6,
        sm_clock_source="nvml",
        ledger=ComputeLedger(0.0, 0.4, 2.3, 31.4, 10.4, None, 55.5),
        achieved_basis="pipe",
        at_most=True,
        bound_by="compute",
        memory_ledger=MemoryLedger(0.4, 73.0, 0.0, 26.6),
        pcie_rx_bytes_per_s=74.7e6,
        pcie_tx_bytes_per_s=11.1e6,
        nvlink_rx_bytes_per_s=1.5e9,
        nvlink_tx_bytes_per_s=2.5e9,
        cpu_pct=7.0,
        busiest_thread_cpu_pct=99.0,
        power_limit_watts=700.0,
        power_watts=691.0,
        temperature_celsius=58.0,
        throttle_reasons=("sw_power_cap",),
        vram_used_bytes=20 << 30,
        vram_total_bytes=140 << 30,
        verdict="compute-bound: tensor pipe at 56 % of peak; stalls cost 31 %",
    )
    return replace(made, **changes)


def unmeasured(**changes):
    """A GPU whose driver refuses everything: each number is missing, with the reason."""
    names = ("compute_sol_pct", "memory_sol_pct", "busy_pct", "power_watts")
    return GpuSummary(
        uuid=UUID,
        name="NVIDIA X1",
        from_ns=END_NS - 5 * S,
        to_ns=END_NS,
        samples=5,
        verdict="unknown: no hardware counters",
        unavailable=dict.fromkeys(names, "this driver refuses GPM"),
        **changes,
    )


def series(to_ns=END_NS, bins=240):
    names = ("busy_pct", "compute_sol_pct", "memory_sol_pct", "sm_clock_mhz", "power_watts")
    return Series(to_ns - 120 * S, to_ns, {name: [50.0] * bins for name in names})


def view(index=0, **changes):
    changes.setdefault("summary", summary(f"GPU-{index}"))
    changes.setdefault("series", series())
    return GpuView(facts={"index": index, "power_limit_watts": 700.0}, **changes)


def process(pid, **changes):
    values = {
        "gpu_uuid": UUID,
        "user": "ada",
        "name": "python3",
        "command_line": f"python3 train.py --rank {pid}",
        "vram_used_bytes": pid << 30,
        "sm_pct": 50.0,
        "cpu_pct": 100.0,
        "busiest_thread_name": "python3",
        "busiest_thread_cpu_pct": 99.0,
    }
    return ProcessRow(pid=pid, **(values | changes))


def snapshot(gpus=1, **changes):
    values = {
        "at_ns": END_NS,
        "start_ns": START_NS,
        "end_ns": END_NS,
        "window_ns": 5 * S,
        "wall_ns": END_NS + S,
        "gpus": [view(index) for index in range(gpus)] if isinstance(gpus, int) else gpus,
        "processes": [process(pid) for pid in (1, 2, 3)],
        "phases": [Span("prefill_b8", END_NS - 10 * S, END_NS)],
        "meta": Meta(1, unavailable=[Unavailable("pm", "no CUPTI here", "install CUPTI")]),
    }
    return Snapshot(**(values | changes))


class Rows(list):
    """Stands for a ``pyarrow.Table``, of which the screen only wants rows."""

    def to_pylist(self):
        return list(self)


class Feed:
    """Measurements of which the tests say what they are; ``fail`` names parts that raise."""

    def __init__(self, gpus=1, end_ns=END_NS):
        self.gpus = gpus
        self.end_ns = end_ns
        self.fail = set()
        self.missing = set()
        self.rows = {}
        self.asked = []
        self.hold = None

    def meta(self):
        self._check("meta")
        facts = {f"GPU-{at}": {"index": at, "name": "NVIDIA H200"} for at in range(self.gpus)}
        return Meta(1, gpus=facts, unavailable=[Unavailable("pm", "no CUPTI here", "install it")])

    def bounds(self):
        self._check("bounds")
        return (START_NS, self.end_ns) if self.end_ns else None

    def read(self, table, *, from_ns=None, to_ns=None, columns=None):
        self._check(table)
        return Rows(self.rows.get(table, ()))

    def skipped(self):
        return ()

    def _check(self, part):
        if part in self.fail:
            raise OSError(f"{part} cannot be read")

    def questions(self):
        """The analysis, answering with the hand-made summaries."""

        def summarize(feed, *, from_ns, to_ns):
            self._check("summary")
            self.asked.append((from_ns, to_ns))
            if self.hold is not None:
                self.hold.wait(10)
            uuids = [f"GPU-{at}" for at in range(self.gpus)]
            return [summary(uuid, to_ns) for uuid in uuids if uuid not in self.missing]

        def one_series(feed, uuid, *, from_ns, to_ns, bins, mig_uuid):
            self._check("series")
            return series(to_ns, bins).values

        return Questions(
            summarize=summarize,
            series=one_series,
            processes=lambda feed, *, from_ns, to_ns: [process(pid) for pid in (1, 2, 3)],
            phases=lambda feed: [Span("prefill_b8", END_NS - 10 * S, END_NS + 10 * S)],
        )


class Replay(Feed):
    """A feed with a clock of its own."""

    def __init__(self, gpus=1):
        super().__init__(gpus)
        self.at_ns = START_NS + 100 * S
        self.is_paused = False

    def now_ns(self):
        return self.at_ns

    def seek(self, ts_ns):
        self.at_ns = ts_ns

    def pause(self):
        self.is_paused = True

    def resume(self):
        self.is_paused = False


def held():
    """Return an event that a feed's ``hold`` waits for."""
    return threading.Event()


def plain(lines):
    return "\n".join(line.plain for line in lines)
