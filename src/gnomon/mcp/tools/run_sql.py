"""Any question that is one SELECT."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gnomon.mcp import sql_process
from gnomon.mcp.desk import Desk
from gnomon.mcp.reply import Answer

Query = Annotated[
    str,
    Field(
        min_length=1,
        max_length=20_000,
        description="One SELECT in DuckDB's SQL; SHOW TABLES and DESCRIBE gpu_counters work too.",
    ),
]
Rows = Annotated[int, Field(ge=1, le=1000, description="Most rows to return.")]


def answer(desk: Desk, *, query: Query, rows: Rows = 100) -> Answer:
    """Ask the recording's tables in SQL, to prove or to look closer.

    Each table is described, column by column, by the resource gnomon://schema. Every table has
    ts_ns (the interval's end, Unix ns) and duration_ns: weight means by duration_ns, and compare
    times as integers. gpu_counters has a row a GPU, source and interval; a source fills its own
    columns, so filter by source or use aggregates, which skip null. Null was not measured and is
    not 0. Units are in the names, _pct is 0 to 100.

    Read-only: nothing can be written, and no file, network or extension be reached. A query ends
    after 20 s, and may use 1 GiB and yield 100,000 rows; of these the first are returned, and cut
    says how many there are. Texts are wrapped as from_process.
    """
    found = sql_process.run(desk.recording.path, query, rows)
    return Answer(
        facts={"columns": found["columns"], "skipped_files": found["skipped_files"]},
        lists={"rows": found["rows"]},
        totals={"rows": found["total"]},
        advice="aggregate, select fewer columns, or use ORDER BY with LIMIT and OFFSET",
        is_exact=True,
    )
