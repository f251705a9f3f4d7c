"""``gnomon trace``: what calls into CUDA took, and what their threads waited for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from gnomon.cli import base, footprint, trace_options
from gnomon.cli.quantities import Duration


@click.command(
    "trace",
    cls=base.Command,
    examples=[
        ("gnomon trace -o run1 -- python train.py", "a workload from its first call to its last"),
        ("gnomon trace -o run1 --pid 4242 --duration 30s", "a running process, for 30 s"),
        ("gnomon trace -o run1 --comm vllm", "all processes of that name, also later ones"),
        ("gnomon trace -o run1 --all-gpu", "every process that uses a GPU"),
    ],
)
@click.option(
    "-o", "--output", required=True, type=base.RECORDING_DIRECTORY, help="Where to record."
)
@trace_options.pid_option("--pid", "Trace this process and its children; may be repeated.")
@trace_options.name_option("--comm", "Trace processes with this short name (ps -o comm).")
@click.option("--all-gpu", is_flag=True, help="Trace every process that uses a GPU.")
@click.option("--duration", "duration_ns", type=Duration(), help="Stop after this time.")
@base.json_option("Print the table as JSON at the end.")
@click.argument("workload", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(  # noqa: PLR0913  one parameter an option
    ctx: click.Context,
    *,
    output: Path,
    pids: tuple[int, ...],
    names: tuple[str, ...],
    all_gpu: bool,
    duration_ns: int | None,
    as_json: bool,
    workload: tuple[str, ...],
) -> None:
    """Trace calls into CUDA and NCCL, and what their threads waited for.

    Needs CAP_BPF and CAP_PERFMON, or root, and nothing of the traced processes, which are neither
    stopped nor changed. Records what `gnomon record` does, too; `gnomon explain` reads it.
    """
    if not (pids or names or all_gpu or workload):
        raise click.UsageError("say whom to trace: --pid, --comm, --all-gpu or -- CMD")
    footprint.stay_small()
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.cli.tracer import Tracer  # noqa: PLC0415  pyarrow

    wanted = configuration.TraceRequest(pids, names, every_gpu_process=all_gpu)
    settings = replace(configuration.load(), trace=wanted)
    tracer = Tracer(output, settings, has_workload=bool(workload), as_json=as_json)
    ctx.exit(tracer.run(workload, duration_ns))
