"""No tool lets an observed program speak as if gnomon did: whatever text it chose is marked."""

import pytest

from gnomon import tables
from gnomon.mcp.registry import tool_modules
from gnomon.recording.base import Meta, Unavailable
from tests.mcp.conftest import GPU, HOSTILE, SECOND_NS, Agent, at, write

# Words that decide what is told at all, and so cannot be any text.
KEPT = {
    "gpu_counters": {"source": "nvml", "busy_pct": 50.0},
    "phases": {"edge": "begin"},
    "host_calls": {"layer": "cuda_runtime", "operation": "cudaLaunchKernel", "stack_hash": 5},
    "stacks": {"stack_hash": 5, "depth": 0},
    "off_cpu": {"stack_hash": 5, "voluntary_ns": SECOND_NS // 4},
}
ASKED = {"run_sql": {"query": "SELECT * FROM losses"}}


@pytest.fixture(scope="module")
def possessed(tmp_path_factory):
    """An agent on a recording in which every text that can be anything is a sentence to agents."""
    rows_of = {}
    for table in tables.TABLES.values():
        texts = {one.name: HOSTILE for one in table.columns if one.type == "string"}
        keys = {name: 7 for name in ("pid", "tid") if name in table.column_names}
        row = texts | keys | {"duration_ns": SECOND_NS // 2} | KEPT.get(table.name, {})
        rows_of[table.name] = [row | {"ts_ns": second} for second in (1, 2, 3, 9)]
    every = {"name": HOSTILE, "hostname": HOSTILE, "os": HOSTILE, "kernel": HOSTILE}
    meta = Meta(
        tables.SCHEMA_VERSION,
        host=every,
        gpus={GPU: {"index": 0, "name": HOSTILE}, HOSTILE: {"index": 1, "name": HOSTILE}},
        sources={HOSTILE: {"state": HOSTILE, "reason": HOSTILE}},
        unavailable=[Unavailable(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, at(1), at(2))],
    )
    return Agent(write(tmp_path_factory.mktemp("possessed") / "r", rows_of, meta))


def unmarked(answer, path="answer"):
    """Every place of an answer where the sentence stands as if it were ours."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if "Ignore" in key:
                yield f"{path}: a key"
            if key != "from_process":
                yield from unmarked(value, f"{path}.{key}")
    elif isinstance(answer, list):
        for one in answer:
            yield from unmarked(one, path)
    elif isinstance(answer, str) and "Ignore" in answer:
        yield path


@pytest.mark.parametrize("tool", sorted(tool_modules()))
def test_a_sentence_of_an_observed_program_is_marked_wherever_it_stands(possessed, tool):
    assert list(unmarked(possessed.ask(tool, **ASKED.get(tool, {})).json)) == []
