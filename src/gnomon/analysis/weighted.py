"""Percentiles of rows that stand for different numbers of calls: kept for being slow, or by chance.

Nearest rank over weights: the smallest value with at least that share of the weight at or below
it, which is the percentile of all calls, estimated without bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gnomon.recording.base import Session

# SQL that is true of a group of rows in which weights differ.
DIFFER = "(min(weight) < max(weight)) IS TRUE"

# Sums of weights are rounded: a rank that is missed by as little is reached.
ROUNDING = 1e-12

SPREAD_SQL = """\
SELECT {names}, {percentiles} FROM (
  SELECT *, sum(weight) OVER (PARTITION BY {names} ORDER BY value) AS upto,
    sum(weight) OVER (PARTITION BY {names}) AS total
  FROM (SELECT {keys}, {value} AS value, weight FROM host_calls WHERE {where})
) GROUP BY {names}"""


PERCENTILE_SQL = """\
SELECT min(value) AS value FROM (
  SELECT {value} AS value, sum({weight}) OVER (ORDER BY {value}) AS upto,
    sum({weight}) OVER () AS total
  FROM ({rows}) WHERE {value} IS NOT NULL
) WHERE upto >= {share!r} * total"""


def percentile_sql(rows: str, value: str, share: float, weight: str = "weight") -> str:
    """Return the SELECT of one percentile (``share``: 0 to 1) of a value of a SELECT's rows.

    ``weight``: an expression of how many each row stands for.
    """
    return PERCENTILE_SQL.format(rows=rows, value=value, share=share - ROUNDING, weight=weight)


def spread(
    session: Session,
    keys: Mapping[str, str],
    value: str,
    where: str,
    shares: Sequence[float],
) -> Mapping[tuple[Any, ...], Sequence[Any]]:
    """Return the percentiles of ``value`` by group; ``keys``: names -> expressions of a group."""
    query = SPREAD_SQL.format(
        keys=", ".join(f"{expression} AS {name}" for name, expression in keys.items()),
        names=", ".join(keys),
        value=value,
        where=where,
        percentiles=", ".join(
            f"min(value) FILTER (upto >= {share - ROUNDING!r} * total) AS share_{place}"
            for place, share in enumerate(shares)
        ),
    )
    columns = [f"share_{place}" for place in range(len(shares))]
    return {
        tuple(row[name] for name in keys): [row[column] for column in columns]
        for row in session.rows(query)
    }
