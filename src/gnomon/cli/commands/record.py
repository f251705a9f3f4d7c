"""``gnomon record``: measure until told to stop, or for as long as a workload runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from gnomon.cli import base, counter_options, footprint, kernel_recorder, trace_options
from gnomon.cli.quantities import Duration, Size

NS_PER_S = 1_000_000_000
# A thread's share of a core says nothing within milliseconds, and asking for it costs: 1.1 % of a
# core at 10 Hz beside PyTorch on an H200 host.
HOST_PERIOD_S = 1.0


@click.command(
    "record",
    cls=base.Command,
    context_settings={"ignore_unknown_options": False},
    examples=[
        ("gnomon record -o run1", "until Ctrl-C"),
        ("gnomon record -o run1 -- python train.py", "while a workload runs; its exit status"),
        ("gnomon record -o run1 --period 100ms --duration 5m", "10 Hz, for five minutes"),
        ("gnomon record -o run1 --trace -- python train.py", "with the cause side: gnomon explain"),
        ("gnomon record -o run1 --kernels -- python train.py", "with every kernel of 1 s in 20"),
        ("gnomon record -o run1 --pm-samples --pm-interval 50us", "counters every 50 us, in turns"),
        ("gnomon record -o /var/lib/gnomon/always --max-age 7d --max-size 5GiB", "always on"),
    ],
)
@click.option(
    "-o", "--output", required=True, type=base.RECORDING_DIRECTORY, help="Where to record."
)
@click.option(
    "--period",
    "period_ns",
    type=Duration(),
    help="How often to read GPUs; the host once a second at most. [default: 1s]",
)
@counter_options.counter_options
@click.option(
    "--trace",
    "trace",
    is_flag=True,
    help="Trace CUDA calls and what threads waited for: every GPU process, and CMD. Needs CAP_BPF "
    "and CAP_PERFMON.",
)
@trace_options.pid_option("--trace-pid", "Trace this process and its children. Implies --trace.")
@trace_options.name_option("--trace-comm", "Trace processes with this short name. Implies --trace.")
@click.option(
    "--kernels",
    "kernels",
    is_flag=True,
    help="Record what CMD runs on the GPUs, in windows, through CUPTI (experimental).",
)
@kernel_recorder.window_option("--kernel-window")
@kernel_recorder.ranges_option()
@click.option("--duration", "duration_ns", type=Duration(), help="Stop after this time.")
@click.option("--max-size", "max_size_bytes", type=Size(), help="Oldest data goes beyond this.")
@click.option("--max-age", "max_age_ns", type=Duration(), help="Data older than this goes.")
@click.argument("workload", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(  # noqa: PLR0913  one parameter an option
    ctx: click.Context,
    *,
    output: Path,
    period_ns: int | None,
    counters: Mapping[str, object],
    trace: bool,
    pids: tuple[int, ...],
    names: tuple[str, ...],
    kernels: bool,
    window: kernel_recorder.Window | None,
    with_ranges: bool,
    duration_ns: int | None,
    max_size_bytes: int | None,
    max_age_ns: int | None,
    workload: tuple[str, ...],
) -> None:
    """Record what the GPUs and their host do.

    Needs no root. What this machine cannot measure is left out by name.
    """
    footprint.stay_small()
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.cli.recorder import Recorder  # noqa: PLC0415  pyarrow

    if (kernels or window or with_ranges) and not workload:
        raise click.UsageError("kernels are recorded inside of a workload: give it behind --")
    period_s = None if period_ns is None else period_ns / NS_PER_S
    settings = configuration.load(
        {
            "record_period_s": period_s,
            "gpm_period_s": period_s,
            "host_period_s": period_s if period_s and period_s > HOST_PERIOD_S else None,
            **counters,
            "retention_max_bytes": max_size_bytes,
            "retention_max_age_s": None if max_age_ns is None else max(1, max_age_ns // NS_PER_S),
        }
    )
    if trace or pids or names:
        # Who is named is who is meant; nobody: all that use a GPU.
        request = configuration.TraceRequest(pids, names, every_gpu_process=not (pids or names))
        settings = replace(settings, trace=request)
    if kernels or window or with_ranges:
        asked = kernel_recorder.Kernels(window or kernel_recorder.DEFAULT_WINDOW, with_ranges)
        ctx.exit(kernel_recorder.record(output, settings, workload, asked, duration_ns))
    ctx.exit(Recorder(output, settings).run(workload, duration_ns))
