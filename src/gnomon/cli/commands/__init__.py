"""The commands, one a file, found by file name and imported only when used.

To add one: write ``commands/<name>.py`` with a ``command`` (a ``click.Command``) in it, and its
line of help here. The line stands here, and not in the file alone, so that ``gnomon --help``
imports no command; a test holds the two together. A file whose name would be a Python keyword
ends in an underscore (``import_.py`` is ``gnomon import``).
"""

from __future__ import annotations

from collections.abc import Mapping

SHORT_HELP: Mapping[str, str] = {
    "calibrate": "Measure on this GPU what ceilings are computed from.",
    "ceiling": "Say what a model could reach at best on a GPU, and what binds it.",
    "completion": "Print the completion script of a shell.",
    "demo": "Replay a real H200 recording: no GPU needed.",
    "doctor": "Say what can be measured here, what not, and what to do about it.",
    "explain": "Say what was lost, when, where and why, with the evidence.",
    "export": "Write a recording as a Perfetto trace: counters, streams, threads, findings.",
    "import": "Turn measurements of another program into a recording.",
    "kernels": "Say what each kernel loses; without counters what it took and what lies before it.",
    "mark": "Name what the workload is doing from now on.",
    "mcp": "Answer an AI agent's questions about a recording.",
    "query": "Ask a recording in SQL.",
    "record": "Record what the GPUs and their host do.",
    "roofline": "Draw the roofs of a GPU, a model under them, and what was measured.",
    "summary": "Say how close the GPUs ran to their peak, and where the rest went.",
    "timeline": "Say second by second what was done, and what the GPU waited for.",
    "top": "Watch how close the GPUs run to their peak, live or in a recording.",
    "trace": "Trace calls into CUDA and NCCL, and what their threads waited for.",
}
