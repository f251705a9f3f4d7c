"""Faults of known cost under gnomon, and whether it said what was true.

    python -m lab.scenarios list
    python -m lab.scenarios run cpu_contention --fault --seed 0 -o runs
    python -m lab.scenarios score --all --seeds 0,2 -o runs
    python -m lab.scenarios score -o runs

``run`` records one scenario and judges it, ``score --all`` every one with and without its fault.
Even seeds are for development, odd ones for scoring. Run from the repository's root.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.activity import NotPossibleError
from lab.scenarios.catalogue import SCENARIOS
from lab.scenarios.gpu import create
from lab.scenarios.running import LEFT_OUT, RECORD, Run, RunError, judge, perform, runs_in
from lab.scenarios.scoring import MUST_SEE, table
from lab.scenarios.stage import Stage
from lab.scenarios.working import WARM_UP_S, work


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lab.scenarios",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="say what there is")
    run = commands.add_parser("run", help="record one scenario and judge what gnomon says of it")
    score = commands.add_parser("score", help="judge runs; exit status 1 where one is wrong")
    score.add_argument("--all", action="store_true", help="record every scenario first")
    score.add_argument("--seeds", type=_seeds, default=(0, 2), help="with --all (default 0,2)")
    score.add_argument("--only", choices=SCENARIOS, action="append", help="with --all (repeatable)")
    working = commands.add_parser("work", help="the workload alone, without gnomon")
    for command in (run, working):
        command.add_argument("name", choices=SCENARIOS)
        fault = command.add_mutually_exclusive_group()
        fault.add_argument("--fault", action="store_true", default=True, help="the default")
        fault.add_argument("--healthy", action="store_false", dest="fault", help="the control")
        command.add_argument("--seed", type=int, default=0)
    for command in (run, score):
        command.add_argument("-o", "--output", type=Path, required=True, help="folder of runs")
        command.add_argument("--record", default=RECORD, help=f"gnomon's command ({RECORD})")
        command.add_argument(
            "--no-counters", action="store_true", help="judge though no GPU counters are recorded"
        )
    for command in (run, score, working):
        command.add_argument("--seconds", type=float, default=6.0, help="of the window (6)")
        command.add_argument("--warm-up", type=float, default=WARM_UP_S, help="seconds before it")
        command.add_argument("--gpu", default="torch", help="torch, or MODULE:FUNCTION of a Gpu")
    working.add_argument("--sidecar", type=Path, required=True, help="append the truth here")
    return parser.parse_args(arguments)


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.command == "list":
        for one in SCENARIOS.values():
            print(f"{one.name:22} {one.shows}\n{'':22} control: {one.control}")
        return 0
    return _work(options) if options.command == "work" else _score(options)


def _work(options: argparse.Namespace) -> int:
    try:
        stage = Stage(create(options.gpu), options.seed, options.fault)
        truth = work(SCENARIOS[options.name], stage, options.seconds, options.warm_up)
    except NotPossibleError as error:
        print(f"{options.name} left out: {error}", file=sys.stderr)
        return LEFT_OUT
    truth.append(options.sidecar)
    return 0


def _score(options: argparse.Namespace) -> int:
    """Record what is asked for, judge it, print the table; 1 where a run is wrong or failed."""
    failed, judged = 0, []
    must_see = [name for name in MUST_SEE if name != "gpus" or not options.no_counters]
    for run in wanted(options):
        try:
            is_new = options.command == "run" or options.all
            if is_new and not perform(
                run, options.seconds, options.warm_up, gpu=options.gpu, record=options.record
            ):
                continue
            judged.append(judge(run, must_see))
        except RunError as error:
            failed += 1
            print(f"{run.folder.name}: {error}", file=sys.stderr)
    if judged:
        print(table(judged))
    return 1 if failed or not judged or not all(one.is_right for one in judged) else 0


def wanted(options: argparse.Namespace) -> list[Run]:
    """Return the runs that are asked for."""
    if options.command == "run":
        return [Run(options.name, options.fault, options.seed, options.output)]
    if not options.all:
        return runs_in(options.output)
    names = options.only or SCENARIOS
    chosen = itertools.product(names, options.seeds, (True, False))
    return [Run(name, fault, seed, options.output) for name, seed, fault in chosen]


if __name__ == "__main__":
    sys.exit(main())
