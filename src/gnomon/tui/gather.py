"""Turns a request into a snapshot by asking the analysis. Runs off the UI thread.

Each part is asked for on its own: where one fails, its last good answer is shown instead, and
the snapshot says so. A failing part never takes the others with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gnomon.analysis.summary_types import GpuSummary
from gnomon.recording.base import Measurements, Meta
from gnomon.tui.figures import span
from gnomon.tui.snapshot import GpuKey, GpuView, Health, Request, Series, Snapshot, Span

if TYPE_CHECKING:
    from gnomon.analysis.budget import CeilingOf

T = TypeVar("T")
NOTHING: Sequence[Any] = ()
EVENTS_BACK_NS = 3_600_000_000_000
HEALTH_BACK_NS = 60_000_000_000
# Charts are the dearest part: at most this long a refresh, the oldest chart first.
CHART_BUDGET_S = 0.3


@dataclass(frozen=True, slots=True)
class Questions:
    """The analysis, as functions; tests hand in their own."""

    summarize: Callable[..., Sequence[GpuSummary]]
    series: Callable[..., Mapping[str, Sequence[float | None]]]
    processes: Callable[..., Sequence[Any]]
    phases: Callable[[Measurements], Sequence[Any]]

    @classmethod
    def of_analysis(cls, ceiling_of: CeilingOf | None = None) -> Questions:
        """Import the analysis (numpy, pyarrow) and return its functions.

        ``ceiling_of``: GPUs are shown beside the ceiling that it gives them.
        """
        from gnomon.analysis.processes import processes  # noqa: PLC0415  costs start-up time
        from gnomon.analysis.series import series  # noqa: PLC0415
        from gnomon.analysis.summary import summarize  # noqa: PLC0415
        from gnomon.recording.marks import phases  # noqa: PLC0415

        if ceiling_of is None:
            return cls(summarize, series, processes, phases)
        from gnomon.analysis.budget import with_budgets  # noqa: PLC0415

        def beside_ceilings(*args: Any, **span: Any) -> Sequence[GpuSummary]:
            return with_budgets(summarize(*args, **span), ceiling_of)

        return cls(beside_ceilings, series, processes, phases)


@dataclass(slots=True)
class Gatherer:
    """Answers requests about one feed, remembering the last good answer of each part.

    ``now_ns`` is a replay's own clock; without one the newest measurement is now.
    """

    feed: Measurements
    questions: Questions | None = None
    ceiling_of: CeilingOf | None = None
    phases: Sequence[Span] | None = None
    wall_ns: Callable[[], int] = time.time_ns
    _good: dict[str, Any] = field(default_factory=dict)
    _gpus: dict[GpuKey, GpuView] = field(default_factory=dict)
    _series: dict[GpuKey, Series] = field(default_factory=dict)
    _errors: list[str] = field(default_factory=list)

    def gather(self, request: Request) -> Snapshot:
        """Return what the request asks for; never raises an ``Exception``."""
        started = time.perf_counter()
        self._errors = []
        bounds = self._ask("bounds", self.feed.bounds, None)
        meta = self._ask("meta", self.feed.meta, None)
        at_ns = self._at(request, bounds)
        snapshot = Snapshot(
            at_ns=at_ns,
            start_ns=bounds[0] if bounds else None,
            end_ns=bounds[1] if bounds else None,
            window_ns=request.window_ns,
            wall_ns=self.wall_ns(),
            meta=meta,
        )
        if at_ns is not None:
            snapshot = self._filled(snapshot, request, at_ns, meta)
        took_s = time.perf_counter() - started
        return replace(snapshot, errors=tuple(self._errors), took_s=took_s)

    def _filled(
        self, snapshot: Snapshot, request: Request, at_ns: int, meta: Meta | None
    ) -> Snapshot:
        from_ns = at_ns - request.window_ns
        ask = self._questions
        rows = self._ask(
            "processes", lambda: ask().processes(self.feed, from_ns=from_ns, to_ns=at_ns), NOTHING
        )
        events = self._ask("events", lambda: self._events(at_ns), NOTHING)
        gpus = self._views(request, at_ns, meta, rows)
        if request.charts:
            gpus = self._with_series(gpus, request, at_ns)
        return replace(
            snapshot,
            gpus=gpus,
            processes=rows,
            phases=self._ask("phases", self._phases, NOTHING),
            last_event=events[-1] if events else None,
            health=self._health(at_ns, events) if request.health else Health(events=events),
        )

    def _questions(self) -> Questions:
        if self.questions is None:
            self.questions = Questions.of_analysis(self.ceiling_of)
        return self.questions

    def _ask(self, part: str, question: Callable[[], T], default: T) -> T:
        try:
            answer = question()
        except Exception as error:  # noqa: BLE001  whatever it is, the screen must go on
            self._errors.append(f"{part}: {error or type(error).__name__}")
            remembered: T = self._good.get(part, default)
            return remembered
        self._good[part] = answer
        return answer

    def _at(self, request: Request, bounds: tuple[int, int] | None) -> int | None:
        if request.at_ns is not None:
            return request.at_ns
        now = getattr(self.feed, "now_ns", None)
        edge_ns = now() if now is not None else (bounds[1] if bounds else None)
        if edge_ns is None:
            return None
        return max(int(edge_ns) - request.behind_ns, bounds[0] if bounds else 0)

    def _views(
        self, request: Request, at_ns: int, meta: Meta | None, rows: Sequence[Any]
    ) -> list[GpuView]:
        """Return one view a GPU, those without a new sample with their last values, stale."""
        from_ns = at_ns - request.window_ns
        failed = len(self._errors)
        summaries: Sequence[GpuSummary] = self._ask(
            "summary",
            lambda: self._questions().summarize(self.feed, from_ns=from_ns, to_ns=at_ns),
            NOTHING,
        )
        is_old = len(self._errors) > failed
        facts = meta.gpus if meta else {}
        fresh = {} if is_old else {(one.uuid, one.mig_uuid): one for one in summaries}
        for key, summary in fresh.items():
            if summary.samples > 0 or key not in self._gpus:
                thread = _busiest_thread(rows, key)
                self._gpus[key] = GpuView(summary, facts.get(key[0], {}), None, thread)
        for uuid, about in facts.items():
            if not any(known == uuid for known, _ in self._gpus):
                nothing_yet = _nothing_yet(uuid, about, from_ns, at_ns)
                self._gpus[uuid, None] = GpuView(nothing_yet, about)
        views = [self._aged(view, at_ns, request) for view in self._gpus.values()]
        return sorted(views, key=_order)

    def _aged(self, view: GpuView, at_ns: int, request: Request) -> GpuView:
        summary = view.summary
        age_ns = at_ns - summary.to_ns
        if summary.samples > 0 and age_ns == 0:
            return view
        if summary.samples == 0 or age_ns < 0:
            return replace(view, stale=f"no sample in the last {span(request.window_ns)}")
        return replace(view, stale=f"stale: last values are from {span(age_ns)} ago")

    def _with_series(self, gpus: Sequence[GpuView], request: Request, at_ns: int) -> list[GpuView]:
        """Refresh charts, the one looked at first and then the oldest, within the budget.

        A chart of which not even half a bin has passed would look the same: it is left alone.
        """
        deadline = time.perf_counter() + CHART_BUDGET_S

        def age_ns(view: GpuView) -> int:
            held = self._series.get(view.key)
            if held is None or held.to_ns - held.from_ns != request.chart_ns:
                return at_ns
            return abs(at_ns - held.to_ns)

        least_ns = request.chart_ns // request.chart_bins // 2
        old = [view for view in gpus if age_ns(view) >= max(1, least_ns)]
        for view in sorted(old, key=lambda one: (one.key != request.chart_first, -age_ns(one))):
            self._series[view.key] = self._one_series(view, request, at_ns)
            if time.perf_counter() > deadline:
                break
        return [replace(view, series=self._series.get(view.key)) for view in gpus]

    def _one_series(self, view: GpuView, request: Request, at_ns: int) -> Series:
        uuid, mig_uuid = view.key
        from_ns = at_ns - request.chart_ns
        nothing: Mapping[str, Sequence[float | None]] = {}
        values = self._ask(
            f"chart of GPU {view.label}",
            lambda: self._questions().series(
                self.feed,
                uuid,
                from_ns=from_ns,
                to_ns=at_ns,
                bins=request.chart_bins,
                mig_uuid=mig_uuid,
            ),
            nothing,
        )
        return Series(from_ns, at_ns, values)

    def _phases(self) -> Sequence[Span]:
        if self.phases is not None:
            return self.phases
        found = self._questions().phases(self.feed)
        return [Span(one.name, one.from_ns, one.to_ns) for one in found]

    def _events(self, at_ns: int) -> Sequence[Mapping[str, Any]]:
        rows = self.feed.read("events", from_ns=at_ns - EVENTS_BACK_NS, to_ns=at_ns).to_pylist()
        return list(rows)[-50:]

    def _health(self, at_ns: int, events: Sequence[Mapping[str, Any]]) -> Health:
        since_ns, hour_ago_ns = at_ns - HEALTH_BACK_NS, at_ns - EVENTS_BACK_NS
        rows = self._ask(
            "source health", lambda: self._read("source_health", since_ns, at_ns), NOTHING
        )
        newest = {row["source"]: row for row in rows}
        losses = self._ask("losses", lambda: self._read("losses", hour_ago_ns, at_ns), NOTHING)
        skipped = self._ask("skipped files", self.feed.skipped, NOTHING)
        return Health([newest[name] for name in sorted(newest)], losses, events, skipped)

    def _read(self, table: str, from_ns: int, to_ns: int) -> Sequence[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = self.feed.read(
            table, from_ns=from_ns, to_ns=to_ns
        ).to_pylist()
        return rows


def _order(view: GpuView) -> tuple[int, str, str]:
    index = view.facts.get("index")
    return (1 << 30 if index is None else int(index), view.summary.uuid, view.key[1] or "")


def _busiest_thread(rows: Sequence[Any], key: GpuKey) -> str | None:
    mine = [row for row in rows if (row.gpu_uuid, row.mig_uuid) == key]
    known = [row for row in mine if row.busiest_thread_cpu_pct is not None]
    busiest = max(known, key=lambda row: row.busiest_thread_cpu_pct, default=None)
    name = busiest.busiest_thread_name if busiest else None
    return str(name) if name else None


def _nothing_yet(uuid: str, facts: Mapping[str, Any], from_ns: int, to_ns: int) -> GpuSummary:
    return GpuSummary(
        uuid=uuid,
        name=str(facts.get("name") or "unknown GPU"),
        from_ns=from_ns,
        to_ns=to_ns,
        samples=0,
        verdict="no samples yet",
    )
