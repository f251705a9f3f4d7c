"""Makes Arrow of the samples that ``gnomon-pm`` tells one by one: whole columns, by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gnomon import tables
from gnomon.enums import CounterSet
from gnomon.sources._pm_metrics import Metric, sampled_columns
from gnomon.sources._pm_records import SAMPLE_TIMES_BYTES, Samples

TABLE = "pm_samples"
END_BYTES = 8


def sample_batch(
    records: Sequence[Samples],
    metrics: Sequence[Metric],
    *,
    gpu_uuid: str,
    counter_set: CounterSet,
) -> Any:
    """Return a batch of `pm_samples` of records of one GPU and counter set, in their order.

    Loops over records, of some 70 samples each, and over columns, never over samples.
    """
    import numpy as np  # noqa: PLC0415  80 ms
    import pyarrow as pa  # noqa: PLC0415

    ends_ns = np.concatenate([np.frombuffer(one.columns, "<i8", one.samples) for one in records])
    lengths_ns = np.concatenate(
        [np.frombuffer(one.columns, "<u4", one.samples, END_BYTES * one.samples) for one in records]
    )
    values = np.concatenate([_values(np, one) for one in records], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = sampled_columns(metrics, list(values), lengths_ns.astype(np.float32))
    count = len(ends_ns)
    columns |= {"ts_ns": ends_ns, "duration_ns": lengths_ns.astype(np.int64)}
    constants = {"gpu_uuid": gpu_uuid, "counter_set": str(counter_set)}

    def column(field: Any) -> Any:
        if field.name in constants:
            return pa.repeat(pa.scalar(constants[field.name], field.type), count)
        if field.name not in columns:
            return pa.nulls(count, field.type)
        # What is no number was no measurement: a unit's clock stood still, or nothing was asked.
        found = columns[field.name]
        finite = np.isfinite(found)
        return pa.array(found, field.type, mask=None if finite.all() else ~finite)

    schema = tables.arrow_schema(TABLE)
    return pa.record_batch([column(field) for field in schema], schema=schema)


def _values(np: Any, one: Samples) -> Any:
    """Return a metric a row, a sample a column: float32."""
    flat = np.frombuffer(one.columns, "<f4", offset=SAMPLE_TIMES_BYTES * one.samples)
    return flat.reshape(one.metrics, one.samples)
