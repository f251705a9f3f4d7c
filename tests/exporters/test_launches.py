"""Arrows from a call to what it launched: drawn where that is known, and nowhere else."""

import io

from gnomon.analysis.questions import Span
from gnomon.exporters.perfetto_export import export
from gnomon.exporters.rows import Chosen
from gnomon.recording.reader import Recording
from tests.analysis import kernel_recordings as kernels
from tests.exporters.traces import Trace

US = kernels.US


def _call(begin_ns, operation, tid=1, **more):
    row = {
        "ts_ns": kernels.BEGIN_NS + begin_ns + 5 * US,
        "duration_ns": 5 * US,
        "process_id": kernels.PROCESS_ID,
        "pid": kernels.PID,
        "tid": tid,
        "layer": "cuda_runtime",
        "operation": operation,
        "depth": 0,
    }
    return row | more


def _kernel(begin_ns, call_ns, **more):
    enqueued_ns = None if call_ns is None else kernels.BEGIN_NS + call_ns
    return kernels.kernel(begin_ns, 2 * US, enqueued_ns=enqueued_ns, **more)


def _arrows(directory, calls, operations, copies=()):
    """Return the arrows of a trace of these rows as (call, begin of the operation)."""
    path = kernels.record(directory, host_calls=calls, kernels=operations, copies=list(copies))
    recording = Recording.open(path)
    out = io.BytesIO()
    span = Span(kernels.BEGIN_NS - 1, kernels.BEGIN_NS + kernels.SECOND)
    done = export(recording, Chosen(span), out, hosts={}, has_findings=False)
    slices = Trace(out.getvalue()).slices
    starts = {flow: one for one in slices for flow in one.starts_flows}
    ends = {flow: one for one in slices for flow in one.ends_flows}
    assert starts.keys() == ends.keys()
    assert done.written["flows"] == len(ends)
    return sorted(
        (starts[flow].name, starts[flow].args["layer"], ends[flow].begin_ns - kernels.BEGIN_NS)
        for flow in ends
    )


RUNTIME, DRIVER = "cuda_runtime", "cuda_driver"


def test_a_launch_has_an_arrow_to_its_kernel_and_a_graph_to_each_node(tmp_path):
    calls = [_call(0, "cudaLaunchKernel"), _call(10 * US, "cudaGraphLaunch")]
    nodes = [
        _kernel(at * US, 10 * US, graph_id=1, graph_node_id=at, correlation_id=9, stream_id=at % 2)
        for at in (30, 31, 40)
    ]

    assert _arrows(tmp_path, calls, [_kernel(20 * US, 0), *nodes]) == [
        ("cudaGraphLaunch", RUNTIME, 30 * US),
        ("cudaGraphLaunch", RUNTIME, 31 * US),
        ("cudaGraphLaunch", RUNTIME, 40 * US),
        ("cudaLaunchKernel", RUNTIME, 20 * US),
    ]


def test_a_copy_has_an_arrow_as_well(tmp_path):
    copy = _kernel(20 * US, 0, operation="memcpy", direction="h2d")
    del copy["name_hash"]

    assert _arrows(tmp_path, [_call(0, "cudaMemcpyAsync")], [], [copy]) == [
        ("cudaMemcpyAsync", RUNTIME, 20 * US)
    ]


def test_the_outermost_of_calls_that_begin_together_made_the_launch(tmp_path):
    inner = _call(0, "cuLaunchKernel", layer=DRIVER, depth=1)
    inner |= {"duration_ns": 3 * US, "ts_ns": inner["ts_ns"] - 2 * US}

    assert _arrows(tmp_path, [inner, _call(0, "cudaLaunchKernel")], [_kernel(20 * US, 0)]) == [
        ("cudaLaunchKernel", RUNTIME, 20 * US)
    ]


def test_nothing_is_guessed(tmp_path):
    of_two_threads = [_call(0, "cudaLaunchKernel"), _call(0, "cudaLaunchKernel", tid=2)]
    of_another = _call(10 * US, "cudaLaunchKernel", process_id="process-2", pid=7)
    no_cuda = _call(20 * US, "block_read", layer="block_io")
    operations = [_kernel(30 * US, 0), _kernel(40 * US, 10 * US), _kernel(50 * US, 20 * US)]
    without_its_call = [_kernel(60 * US, 25 * US), _kernel(70 * US, None)]

    calls = [*of_two_threads, of_another, no_cuda]
    assert _arrows(tmp_path, calls, operations + without_its_call) == []
