"""The device side and the host side of a process meet in one row."""

from gnomon.analysis.processes import processes

from . import scenes as s


def at(second, **values):
    return {"ts_ns": s.BEGIN_NS + second * s.SECOND_NS, "duration_ns": s.SECOND_NS, **values}


def test_newest_values_win_and_older_ones_fill_what_they_lack():
    device = [
        at(1, gpu_uuid=s.GPU, pid=7, name="python", vram_used_bytes=5, sm_pct=90.0),
        at(2, gpu_uuid=s.GPU, pid=7, name="python", vram_used_bytes=6),
        at(2, gpu_uuid=s.GPU, pid=8, name="other", vram_used_bytes=9),
    ]
    host = [at(2, pid=7, cpu_pct=150.0, busiest_thread_name="worker")]

    rows = processes(
        s.memory(gpu_processes=device, process_samples=host),
        from_ns=s.BEGIN_NS,
        to_ns=s.BEGIN_NS + 3 * s.SECOND_NS,
    )

    assert [row.pid for row in rows] == [8, 7]
    assert (rows[1].vram_used_bytes, rows[1].sm_pct, rows[1].cpu_pct) == (6, 90.0, 150.0)
    assert rows[1].busiest_thread_name == "worker"
    assert rows[0].cpu_pct is None
