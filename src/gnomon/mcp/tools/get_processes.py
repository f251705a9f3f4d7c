"""Who uses the GPUs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gnomon.analysis.processes import ProcessRow, processes
from gnomon.mcp.desk import NS_PER_S, Desk, only_gpu
from gnomon.mcp.parameters import Gpu, Since, Until
from gnomon.mcp.reply import Answer, marked, said

TEXTS = ("name", "command_line", "user", "container_id", "pod_uid", "busiest_thread_name")
# Every process of every reading is looked through: a day of them would take long.
DEFAULT_WINDOW_NS = 600 * NS_PER_S


def answer(desk: Desk, *, since: Since = None, until: Until = None, gpu: Gpu = None) -> Answer:
    """List the processes on each GPU, the largest user of device memory first.

    The newest reading of each in the window: pid, device memory, its share of busy time (sm_pct),
    and its host side: cpu_pct and busiest_thread_cpu_pct are of one core (a dispatch thread near
    100 keeps the GPU waiting), busiest_thread_run_queue_pct is the share of time in which that
    thread wanted a CPU and got none. Without since, the last ten minutes of the window: processes
    that ended before are not in it.
    """
    from_ns, to_ns = desk.window(since, until)
    if since is None:
        from_ns = max(from_ns, to_ns - DEFAULT_WINDOW_NS)
    rows = processes(desk.recording, from_ns=from_ns, to_ns=to_ns)
    kept = only_gpu(rows, gpu, desk.recording.meta(), lambda one: (one.gpu_uuid, one.mig_uuid))
    return Answer(
        facts={"from_ns": from_ns, "to_ns": to_ns},
        lists={"processes": [_row(each) for each in kept]},
        advice="ask for one gpu; run_sql on gpu_processes and process_samples shows every reading",
    )


def _row(process: ProcessRow) -> dict[str, Any]:
    values = marked(asdict(process)) | {name: said(getattr(process, name)) for name in TEXTS}
    return {name: value for name, value in values.items() if value is not None}
