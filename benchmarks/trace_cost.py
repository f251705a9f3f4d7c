"""What tracing adds to a call, ns: gnomon's programs beside an empty pair and a plain tracer.

    python -m benchmarks.trace_cost [--rounds 61] [--calls 20000] [--json FILE]

A compiled function that begins with push %rbp and returns at once is called in a tight loop by a
child on a processor of its own. In each round every variant comes once, in random order, so that
all meet the same machine. Needs root (or CAP_BPF and CAP_PERFMON) and a C compiler; the plain
tracer also clang. Exits 1 where gnomon adds more than promised, 2 where it could not measure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.observers import ObserverError
from benchmarks.paired_ratios import Quartiles, quartiles
from benchmarks.plain_tracer import PlainTracer
from benchmarks.traced_target import Kernel, Spent, Target, compile_target, functions_of
from gnomon._errors import TracingError
from gnomon.tracing import bpf_syscall
from gnomon.tracing.bpf_syscall import UPROBE_MULTI, UPROBE_MULTI_RETURN, ProgramType
from gnomon.tracing.loader import KPROBE
from gnomon.tracing.ring_thread import RingThread

PROMISED_NS = 1000.0
# Without a probe a call is so short that more of them are needed to tell.
BARE_TIMES = 20
RETURNS_0 = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)

BARE, BARE_NESTED = "untraced", "untraced, a call in a call"
EMPTY = "empty pair of programs"
SHIPPED = "gnomon: frames, histograms"
WATCHED = "gnomon: and scheduler, disks, network"
KEPT = "gnomon: and a record of every call"
OUTER = "gnomon, a call in a call: both probed"
INNER = "gnomon, a call in a call: the inner probed"
PLAIN = "plain: hash map, event, callback"

Attach = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to trace: which function of the target is called, and how it is probed."""

    function: str
    attach: Attach

    @property
    def is_bare(self) -> bool:
        return self.attach is nullcontext


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a call, ns, over all rounds; ``added``: over the untraced call of the same round.

    ``added_cpu_ns`` and the ratios, to the untraced call and to gnomon as shipped (`WATCHED`), are
    in CPU time of the thread: what others take of its processor is not in it.
    """

    variant: str
    ns: Quartiles
    added_ns: Quartiles
    added_cpu_ns: Quartiles
    times_bare: Quartiles
    times_gnomon: Quartiles


@contextlib.contextmanager
def empty_pair(program: Path, offset: int) -> Iterator[None]:
    """Programs that return 0, at a function's entry and return."""
    kind = ProgramType(KPROBE, UPROBE_MULTI)
    fd = bpf_syscall.prog_load("empty", RETURNS_0, kind, b"Dual BSD/GPL")
    with ExitStack() as owned:
        owned.callback(os.close, fd)
        for flags in (UPROBE_MULTI_RETURN, 0):
            link = bpf_syscall.link_uprobe_multi(fd, str(program), [offset], [0], 0, flags)
            owned.callback(os.close, link)
        yield


def variants(program: Path, kernel: Kernel, plain: PlainTracer | None) -> Mapping[str, Variant]:
    """Return all there are to measure, by name."""

    @contextlib.contextmanager
    def watched(*, every_call: bool) -> Iterator[None]:
        kernel.keep(every_call=every_call)
        with kernel.watching(), kernel.probing("driver"):
            yield
        kernel.keep(every_call=False)

    offset = functions_of(program)["driver"].offset
    found = {
        BARE: Variant("driver", nullcontext),
        EMPTY: Variant("driver", lambda: empty_pair(program, offset)),
        SHIPPED: Variant("driver", lambda: kernel.probing("driver")),
        WATCHED: Variant("driver", lambda: watched(every_call=False)),
        KEPT: Variant("driver", lambda: watched(every_call=True)),
        BARE_NESTED: Variant("runtime", nullcontext),
        INNER: Variant("runtime", lambda: kernel.probing("driver")),
        OUTER: Variant("runtime", lambda: kernel.probing("runtime", "driver")),
    }
    if plain is not None:
        found[PLAIN] = Variant("driver", lambda: plain.probing("driver"))
    return found


def interleaved(
    target: Target,
    wanted: Mapping[str, Variant],
    rounds: int,
    calls: int,
    after: Callable[[], object],
) -> dict[str, list[Spent]]:
    """Measure every variant in each round, in random order; ``after`` each one is called."""
    order = random.Random(0)
    spent: dict[str, list[Spent]] = {name: [] for name in wanted}
    for _ in range(rounds):
        for name in order.sample(list(wanted), len(wanted)):
            variant = wanted[name]
            with variant.attach():
                number = calls * BARE_TIMES if variant.is_bare else calls
                spent[name].append(target.call(variant.function, number))
            after()
    return spent


def costs(spent: Mapping[str, list[Spent]], wanted: Mapping[str, Variant]) -> list[Cost]:
    """Return what each variant costs, round by round against the same round's others."""
    bare_of = {wanted[name].function: spent[name] for name in (BARE, BARE_NESTED)}
    result = []
    for name, measured in spent.items():
        bare = bare_of[wanted[name].function]
        pairs = list(zip(measured, bare, strict=True))
        result.append(
            Cost(
                name,
                ns=quartiles([one.wall_ns for one in measured]),
                added_ns=quartiles([one.wall_ns - base.wall_ns for one, base in pairs]),
                added_cpu_ns=quartiles([one.cpu_ns - base.cpu_ns for one, base in pairs]),
                times_bare=quartiles([one.cpu_ns / base.cpu_ns for one, base in pairs]),
                times_gnomon=quartiles(
                    [
                        one.cpu_ns / ours.cpu_ns
                        for one, ours in zip(measured, spent[WATCHED], strict=True)
                    ]
                ),
            )
        )
    return result


def measure(options: argparse.Namespace) -> tuple[list[Cost], dict[str, object]]:
    """Return the costs, and what else is to be told. Raises ObserverError, TracingError."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        raise ObserverError("needs two processors: one for the target, one for who reads")
    with tempfile.TemporaryDirectory() as directory, ExitStack() as owned:
        program = compile_target(Path(directory))
        target = owned.enter_context(Target(program, processors[-1]))
        os.sched_setaffinity(0, set(processors[:-1]))
        kernel = owned.enter_context(Kernel(program))
        kernel.mark([target.pid])
        ring = RingThread(kernel.maps["records"])
        owned.callback(ring.close)
        plain = None
        notes: dict[str, object] = {}
        try:
            plain = owned.enter_context(PlainTracer(program, Path(directory)))
        except (ObserverError, subprocess.CalledProcessError) as error:
            notes["plain tracer left out"] = str(error)
        wanted = variants(program, kernel, plain)
        spent = interleaved(target, wanted, options.rounds, options.calls, ring.take)
        notes["gnomon lost"] = kernel.losses()
        if plain is not None:
            notes["plain tracer lost"] = plain.lost()
        return costs(spent, wanted), notes


def show(found: list[Cost], notes: Mapping[str, object]) -> None:
    heads = ("ns a call", "added", "added CPU", "CPU x untraced", "CPU x gnomon")
    print(f"\n{'median (quartiles)':44}" + "".join(f"{head:>27}" for head in heads))
    for one in found:
        columns = [_words(value, 1) for value in (one.ns, one.added_ns, one.added_cpu_ns)]
        columns += [_words(one.times_bare, 0), _words(one.times_gnomon, 3)]
        print(f"{one.variant:44}" + "".join(f"{column:>27}" for column in columns))
    for name, value in notes.items():
        print(f"{name}: {value or 'nothing'}")


def _words(value: Quartiles, digits: int) -> str:
    return f"{value.median:.{digits}f} ({value.low:.{digits}f}, {value.high:.{digits}f})"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What tracing adds to a call, ns.")
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--calls", type=int, default=20_000, help="of a variant in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    try:
        found, notes = measure(options)
    except (ObserverError, TracingError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 2
    show(found, notes)
    if options.json:
        document = {"costs": [asdict(one) for one in found], "notes": notes}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (shipped,) = [one for one in found if one.variant == WATCHED]
    added_ns = shipped.added_cpu_ns.median
    if added_ns > PROMISED_NS:
        print(f"FAILED: {added_ns:.0f} ns added to a call, {PROMISED_NS:.0f} are promised")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
