"""Which metrics answer on which GPU: each fails alone, and a refused one is not asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gnomon.sources import _nvml_errors as errors
from gnomon.sources._nvml_session import binding
from gnomon.sources.base import Missing

T = TypeVar("T")


class Availability:
    """Keeps a ``Missing`` for every metric whose last answer was an error."""

    def __init__(self) -> None:
        self._missing: dict[tuple[str, str], Missing] = {}
        self._refused: set[tuple[str, str]] = set()

    def ask(
        self, gpu_uuid: str, function: str, metrics: tuple[str, ...], call: Callable[[], T]
    ) -> T | None:
        """Return what ``call`` returns, or None where it fails or was refused before.

        Raises GpuLostError and DriverGoneError: those are not about one metric.
        """
        if self.refused(gpu_uuid, metrics[0]):
            return None
        try:
            value = call()
        except binding().NVMLError as error:
            self.failed(gpu_uuid, function, metrics, errors.code_of(error))
            return None
        self.answered(gpu_uuid, metrics)
        return value

    def failed(self, gpu_uuid: str, function: str, metrics: tuple[str, ...], code: int) -> None:
        """Note an error code; raises where it concerns the GPU or the driver as a whole."""
        if code in errors.DRIVER_GONE:
            raise errors.DriverGoneError(f"{function} returned {code}")
        if code in errors.GPU_GONE:
            raise errors.GpuLostError(f"{function} returned {code}")
        reason, remedy = errors.metric_reason(code)
        for metric in metrics:
            self.note(Missing(metric, reason, remedy, gpu_uuid), permanent=code in errors.PERMANENT)

    def note(self, missing: Missing, *, permanent: bool) -> None:
        """Note a metric that is missing for a reason of ours."""
        key = (missing.gpu_uuid or "", missing.metric)
        self._missing[key] = missing
        if permanent:
            self._refused.add(key)

    def answered(self, gpu_uuid: str, metrics: tuple[str, ...]) -> None:
        for metric in metrics:
            self._missing.pop((gpu_uuid, metric), None)

    def refused(self, gpu_uuid: str, metric: str) -> bool:
        return (gpu_uuid, metric) in self._refused

    def forget(self, gpu_uuid: str | None = None) -> None:
        """Ask again: after a reload, or for one GPU after its mode changed."""
        keep = [k for k in self._missing if gpu_uuid is not None and k[0] != gpu_uuid]
        self._missing = {key: self._missing[key] for key in keep}
        self._refused = {k for k in self._refused if gpu_uuid is not None and k[0] != gpu_uuid}

    def missing(self) -> tuple[Missing, ...]:
        return tuple(self._missing.values())


def first_of(*calls: Callable[[], Any]) -> Any:
    """Return what the first call answers that this driver has; newer ones come first."""
    nvml = binding()
    for call in calls[:-1]:
        try:
            return call()
        except nvml.NVMLError as error:
            if errors.code_of(error) not in {errors.FUNCTION_NOT_FOUND, errors.NOT_SUPPORTED}:
                raise
    return calls[-1]()
