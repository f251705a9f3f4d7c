"""How many of the tracer's records a core drains, and what making rows of them takes.

    python -m benchmarks.trace_drain [--rounds 31] [--seconds 3] [--json FILE]

Records are those of real calls: a child fills the ring, which is then drained by what a session
uses, step by step, by CPU time. After that one and two children, each on a processor of its own,
call as fast as they can, every call a record, while one thread drains: what is lost is counted,
and what came and what was lost must add up to the calls. Needs root (or CAP_BPF and CAP_PERFMON)
and a C compiler; the plain tracer beside it also clang. Exits 1 where fewer records a second are
drained than promised, or they do not add up; 2 where it could not measure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.observers import ObserverError
from benchmarks.paired_ratios import Quartiles, quartiles
from benchmarks.plain_tracer import PlainTracer
from benchmarks.traced_target import WARM_UP_CALLS, Kernel, Target, compile_target
from gnomon._errors import TracingError
from gnomon.tracing import layouts
from gnomon.tracing.__main__ import PRIORITY
from gnomon.tracing.chances import Chances
from gnomon.tracing.clock import Clock
from gnomon.tracing.maps import Map
from gnomon.tracing.plan import Plan
from gnomon.tracing.process_table import ProcessTable
from gnomon.tracing.record_teller import Records, RecordTeller
from gnomon.tracing.ring import RingReader
from gnomon.tracing.ring_thread import ANY_RECORD, RingThread
from gnomon.tracing.session import FLUSH_NS
from gnomon.tracing.stack_book import Named, StackBook

PROMISED_A_SECOND = 5e6
WARM_UP_ROUNDS = 3
CALLS = 60_000  # 65,535 records fit into the ring
FLUSH_S = FLUSH_NS / 1e9
BUDGET_A_SECOND = Plan().kept_a_second

LOOK = "ring to numpy, a sum an operation, release"
COPY = "ring to numpy, copied"
SESSION = "session: ring thread, told apart, no rows"
ROWS = "session: and rows of Arrow of them all"
FEW_ROWS = f"session: rows of Arrow, {BUDGET_A_SECOND * FLUSH_S:.0f} at a time"


@dataclass(frozen=True, slots=True)
class Drained:
    """CPU time of a record, ns, over the rounds."""

    way: str
    records: int
    ns: Quartiles

    @property
    def a_second(self) -> float:
        return 1e9 / self.ns.median


@dataclass(frozen=True, slots=True)
class Flood:
    """``calls``: by the children, all of them; ``cpu_pct`` of a core: of the reading process."""

    reader: str
    children: int
    calls: int
    taken: int
    lost: int
    seconds: float
    cpu_pct: float

    @property
    def adds_up(self) -> bool:
        return self.taken + self.lost == self.calls


class Consumer:
    """What a session does with records, without its clockwork."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self.rows = 0
        clock = Clock()
        chances = Chances()
        stacks = StackBook(maps, _nameless, _nameless)
        processes = ProcessTable(clock)
        self._teller = RecordTeller(
            self._emit, clock, processes, chances, stacks, has_scheduler=True
        )

    def tell(self, records: Records, *, with_rows: bool) -> None:
        """Tell records apart, and make rows of the calls or of none of them."""
        self._teller.tell(records, lambda calls: np.full(len(calls), with_rows))

    def _emit(self, _table: str, batch: Any) -> None:
        self.rows += batch.num_rows


def _nameless(_pid: int, _address: int) -> Named:
    return Named(None, None)


class Bench:
    """A child whose calls are probed, every one a record, and ways to drain them."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        self._kernel, self._target = kernel, target
        self._ring = kernel.maps["records"]
        self._consumer = Consumer(kernel.maps)

    def drained(self, rounds: int) -> list[Drained]:
        """Fill the ring and drain it in every way, in turn, so many times.

        The first times are left out: until memory is the process's own, a page's first use costs
        more than what is done with it.
        """
        ways: dict[str, Callable[[], tuple[int, int]]] = {
            LOOK: lambda: self._numpy(_summed),
            COPY: lambda: self._numpy(np.copy),
            SESSION: lambda: self._session(lambda records: [records], with_rows=False),
            ROWS: lambda: self._session(lambda records: [records], with_rows=True),
            FEW_ROWS: lambda: self._session(_few, with_rows=True),
        }
        records = dict.fromkeys(ways, 0)
        times_ns: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(WARM_UP_ROUNDS + rounds):
            for way, drain in ways.items():
                records[way], spent_ns = drain()
                if number >= WARM_UP_ROUNDS:
                    times_ns[way].append(spent_ns / records[way])
        return [Drained(way, records[way], quartiles(times_ns[way])) for way in ways]

    def _numpy(self, look: Callable[[Records], object]) -> tuple[int, int]:
        """(records, CPU ns) of looking at a full ring once."""
        self._target.call("driver", CALLS)
        reader = RingReader(self._ring.fd, self._ring.spec.entries, ANY_RECORD)
        begin_ns = time.process_time_ns()
        records = reader.read()
        look(records)
        reader.release()
        spent_ns = time.process_time_ns() - begin_ns
        reader.close()
        return len(records), spent_ns

    def _session(
        self, lots: Callable[[Records], Sequence[Records]], *, with_rows: bool
    ) -> tuple[int, int]:
        """(records, CPU ns) of a session: a thread empties the ring while the target calls."""
        ring = RingThread(self._ring)
        try:
            begin_ns = time.process_time_ns()
            self._target.call("driver", CALLS)
            records = ring.take()
            for some in lots(records):
                self._consumer.tell(some, with_rows=with_rows)
            return len(records), time.process_time_ns() - begin_ns
        finally:
            ring.close()


def _summed(records: Records) -> object:
    """The time of each operation."""
    calls = records.view(layouts.CALL_RECORD)
    return np.bincount(calls["operation"], calls["duration_ns"], layouts.OPERATIONS)


def _few(records: Records) -> Sequence[Records]:
    """In lots as the budget lets through between two flushes."""
    size = int(BUDGET_A_SECOND * FLUSH_S)
    return [records[begin : begin + size] for begin in range(0, len(records), size)]


def flood(kernel: Kernel, targets: Sequence[Target], seconds: float) -> Flood:
    """All children call for some seconds; one thread drains, another tells apart."""
    consumer = Consumer(kernel.maps)
    ring = RingThread(kernel.maps["records"])
    lost = _lost_calls(kernel)
    taken = 0

    def take() -> None:
        nonlocal taken
        records = ring.take()
        taken += int(np.count_nonzero(records["record"]["kind"] == layouts.RecordKind.CALL))
        consumer.tell(records, with_rows=False)

    try:
        calls, spent_s, cpu_s = _flooded(targets, seconds, take)
    finally:
        ring.close()
    return Flood(
        "gnomon: a thread of numpy, every 10 ms",
        len(targets),
        calls,
        taken,
        _lost_calls(kernel) - lost,
        spent_s,
        100 * cpu_s / spent_s,
    )


def plain_flood(plain: PlainTracer, targets: Sequence[Target], seconds: float) -> Flood:
    """Likewise with the plain tracer and its callback."""
    calls, spent_s, cpu_s = _flooded(targets, seconds, lambda: None)
    # Its reader is behind by up to a ring.
    before = -1
    while plain.reader.events != before:
        before = plain.reader.events
        time.sleep(FLUSH_S)
    return Flood(
        "plain: a callback an event, woken",
        len(targets),
        calls,
        plain.reader.events,
        plain.lost(),
        spent_s,
        100 * cpu_s / spent_s,
    )


def _flooded(
    targets: Sequence[Target], seconds: float, take: Callable[[], None]
) -> tuple[int, float, float]:
    """(calls made, seconds, seconds of our CPU time); ``take`` is called as often as a flush."""
    each = int(seconds * 1e6)
    begin_s, cpu_s = time.monotonic(), time.process_time()
    for target in targets:
        target.begin("driver", each)
    while not all(target.has_ended() for target in targets):
        time.sleep(FLUSH_S)
        take()
    for target in targets:
        target.end()
    spent_s, cpu_s = time.monotonic() - begin_s, time.process_time() - cpu_s
    time.sleep(FLUSH_S)
    take()
    return len(targets) * (each + WARM_UP_CALLS), spent_s, cpu_s


def _lost_calls(kernel: Kernel) -> int:
    return kernel.losses().get("call_records", 0)


def measure(options: argparse.Namespace) -> tuple[list[Drained], list[Flood], dict[str, str]]:
    """Raises ObserverError, TracingError."""
    processors = sorted(os.sched_getaffinity(0))
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as owned:
        program = compile_target(Path(directory))
        targets = [owned.enter_context(Target(program, number)) for number in processors[-2:]]
        numbers = range(1, len(targets) + 1)
        if len(processors) > len(targets):
            os.sched_setaffinity(0, set(processors[:-2]))
        with contextlib.suppress(PermissionError):  # as the helper does, whose work this is
            os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
        kernel = owned.enter_context(Kernel(program))
        kernel.mark([target.pid for target in targets])
        kernel.keep(every_call=True)
        with kernel.probing("driver"):
            bench = Bench(kernel, targets[-1])
            drained = bench.drained(options.rounds)
            floods = [flood(kernel, targets[-number:], options.seconds) for number in numbers]
        for number in numbers:
            try:
                plain = PlainTracer(program, Path(directory))
            except (ObserverError, subprocess.CalledProcessError) as error:
                notes["plain tracer left out"] = str(error)
                break
            with plain, plain.probing("driver"):
                floods.append(plain_flood(plain, targets[-number:], options.seconds))
    return drained, floods, notes


def show(drained: Sequence[Drained], floods: Sequence[Flood], notes: Mapping[str, str]) -> None:
    print(f"\n{'CPU time (quartiles)':46} {'ns a record':>24} {'M records/s of a core':>22}")
    for one in drained:
        ns = f"{one.ns.median:.1f} ({one.ns.low:.1f}, {one.ns.high:.1f})"
        print(f"{one.way:46} {ns:>24} {one.a_second / 1e6:22.2f}")
    (few,) = [one for one in drained if one.way == FEW_ROWS]
    share_pct = BUDGET_A_SECOND * few.ns.median / 1e7
    print(f"{BUDGET_A_SECOND:,.0f} rows/s, the budget, take {share_pct:.2f} % of a core")
    heads = ("M calls/s", "taken", "lost", "lost %", "reader, % of a core")
    print(f"\n{'flood':46}" + "".join(f"{head:>14}" for head in heads[:-1]) + f"{heads[-1]:>22}")
    for one in floods:
        name = f"{one.children} x {one.reader}"
        rate, share = one.calls / one.seconds / 1e6, 100 * one.lost / one.calls
        counts = f"{rate:14.2f}{one.taken:14,}{one.lost:14,}{share:14.2f}"
        wrong = "" if one.adds_up else f"  FAILED: of {one.calls:,} calls"
        print(f"{name:46}{counts}{one.cpu_pct:22.1f}{wrong}")
    for name, value in notes.items():
        print(f"{name}: {value}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How many records of the tracer a core drains.")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--seconds", type=float, default=3.0, help="about so long a flood lasts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    try:
        drained, floods, notes = measure(options)
    except (ObserverError, TracingError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    show(drained, floods, notes)
    if options.json:
        document = {
            "drained": [asdict(one) for one in drained],
            "floods": [asdict(one) for one in floods],
            "notes": notes,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (session,) = [one for one in drained if one.way == SESSION]
    passed = session.a_second >= PROMISED_A_SECOND and all(one.adds_up for one in floods)
    if session.a_second < PROMISED_A_SECOND:
        print(f"FAILED: {session.a_second:,.0f} records/s, promised {PROMISED_A_SECOND:,.0f}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
