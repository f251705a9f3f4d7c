"""A pair of GPM samples of one GPU or GPU instance, turned into metrics.

A sample costs 0.04 ms, metrics of a pair 1.7 ms (H200 VM, driver 580): one sample and one
evaluation a published row, the end of one row being the start of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gnomon.sources._availability import Availability
from gnomon.sources._gpm_metrics import METRICS, GpmMetric
from gnomon.sources._nvml_counters import raw_ns


class Sampler:
    """Takes samples with ``take(buffer)`` and evaluates neighbouring ones."""

    def __init__(
        self, nvml: Any, uuid: str, take: Callable[[Any], Any], availability: Availability
    ) -> None:
        """Allocate two buffers; ``take`` fills one. Raises pynvml.NVMLError."""
        self._nvml = nvml
        self._uuid = uuid
        self._take = take
        self._availability = availability
        self._older = nvml.nvmlGpmSampleAlloc()
        self._newer = nvml.nvmlGpmSampleAlloc()
        self._request = nvml.c_nvmlGpmMetricsGet_t()
        self._slots: list[tuple[Any, GpmMetric]] = []
        self.sampled_ns: int | None = None

    def sample(self) -> int:
        """Take a sample and return when, on the raw monotonic clock. Raises NVMLError."""
        before_ns = raw_ns()
        self._take(self._older)  # where this fails, the newer one is still the row's start
        self._older, self._newer = self._newer, self._older
        self.sampled_ns = (before_ns + raw_ns()) // 2
        return self.sampled_ns

    def metrics(self) -> dict[str, float]:
        """Return column -> value (NaN included) between the last two samples, refused ones not."""
        if not self._slots:
            self._fill_request()
        self._request.sample1, self._request.sample2 = self._older, self._newer
        self._nvml.nvmlGpmMetricsGet(self._request)
        row: dict[str, float] = {}
        refused = False
        for slot, metric in self._slots:
            code = slot.nvmlReturn
            if code == 0:
                self._availability.answered(self._uuid, (metric.column,))
                row[metric.column] = slot.value * metric.scale
            else:
                refused = True
                name = f"GPM {metric.id}"
                self._availability.failed(self._uuid, name, (metric.column,), code)
        if refused:
            self._slots = []  # asked for anew, without those that will never answer
        return row

    def _fill_request(self) -> None:
        asked = [m for m in METRICS if not self._availability.refused(self._uuid, m.column)]
        request = self._request
        request.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        # The array's length differs between driver versions: numMetrics says what is in use.
        request.numMetrics = len(asked)
        self._slots = list(zip(request.metrics, asked, strict=False))
        for slot, metric in self._slots:
            slot.metricId = metric.id

    def close(self) -> None:
        """Free the buffers; harmless where NVML is down already."""
        for buffer in (self._older, self._newer):
            try:
                self._nvml.nvmlGpmSampleFree(buffer)
            except self._nvml.NVMLError:
                return


class CycleClock:
    """The true SM clock from the cumulative cycles of GPM 248, where the driver gives them.

    nvml.h calls it "the GPU's SM cycles elapsed since reboot" and does not say whether over all
    SMs or their mean; a rate that no SM could reach is therefore divided by the SM count.
    Untested on hardware: driver 580 refuses the id.
    """

    # A reading may be a little above the maximum by the error of its two instants.
    SLACK = 1.05

    def __init__(self, max_clock_mhz: float | None, sm_count: int | None) -> None:
        self._max_hz = None if max_clock_mhz is None else max_clock_mhz * 1e6 * self.SLACK
        self._sm_count = sm_count
        self._last: tuple[float, int] | None = None

    def mhz(self, cycles: float | None, now_ns: int) -> float | None:
        """Return MHz since the last call; None for the first, a reset, or an impossible rate."""
        last, self._last = self._last, None if cycles is None else (cycles, now_ns)
        if last is None or cycles is None or self._max_hz is None or now_ns <= last[1]:
            return None
        rate_hz = (cycles - last[0]) / ((now_ns - last[1]) / 1e9)
        if rate_hz > self._max_hz and self._sm_count:
            rate_hz /= self._sm_count
        return rate_hz / 1e6 if 0 < rate_hz <= self._max_hz else None
