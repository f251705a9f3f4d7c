"""The host half of a real libcupti, which needs no GPU: passes and config images of metric sets."""

import ctypes
import sys
from pathlib import Path

import pytest

POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
PM_SAMPLING = 1  # CUPTI_PROFILER_TYPE_PM_SAMPLING


def _params(*fields):
    base = [("structSize", SIZE), ("pPriv", POINTER)]
    return type("Params", (ctypes.Structure,), {"_fields_": [*base, *fields]})


_Initialize = _params(
    ("type", ctypes.c_int), ("chip", ctypes.c_char_p), ("availability", POINTER), ("host", POINTER)
)
_Chips = _params(("count", SIZE), ("names", ctypes.POINTER(ctypes.c_char_p)))
_Host = _params(("host", POINTER))
_AddMetrics = _params(
    ("host", POINTER), ("names", ctypes.POINTER(ctypes.c_char_p)), ("count", SIZE)
)
_ImageSize = _params(("host", POINTER), ("size", SIZE))
_Image = _params(("host", POINTER), ("size", SIZE), ("image", POINTER))
_Passes = _params(("size", SIZE), ("image", POINTER), ("passes", SIZE))


def find(package):
    """Return the libcupti of an installed wheel (cu13 or cuda_cupti); skips without it."""
    for entry in sys.path:
        for path in Path(entry or ".").glob(f"nvidia/{package}/lib/libcupti.so.*"):
            return path
    return pytest.skip(f"no nvidia/{package} wheel with libcupti is installed (see the test group)")


def library(package):
    """Load it into this process, which can hold one version only: they share libnvperf_host."""
    return _load(find(package))


def _load(path):
    ctypes.CDLL(str(path.parent / "libnvperf_host.so"))
    return Host(ctypes.CDLL(str(path)))


class Host:
    """Answers for any chip the library knows."""

    def __init__(self, cupti):
        self._cupti = cupti

    def sampled_chips(self):
        """Return the chips that PM sampling is for, of all that the library knows."""
        known = _Chips(ctypes.sizeof(_Chips), None)
        self._call("cuptiProfilerHostGetSupportedChips", known)
        names = [known.names[index] for index in range(known.count)]
        return [name.decode() for name in names if self._can_sample(name)]

    def _can_sample(self, chip):
        host = _Initialize(ctypes.sizeof(_Initialize), None, PM_SAMPLING, chip, None, None)
        if self._cupti.cuptiProfilerHostInitialize(ctypes.byref(host)) != 0:
            return False
        last = _Host(ctypes.sizeof(_Host), None, host.host)
        self._call("cuptiProfilerHostDeinitialize", last)
        return True

    def config(self, chip, metrics, availability=None):
        """Return (passes, bytes of the config image), or None where a metric is unknown."""
        image = None if availability is None else ctypes.create_string_buffer(availability)
        host = _Initialize(
            ctypes.sizeof(_Initialize),
            None,
            PM_SAMPLING,
            chip.encode(),
            ctypes.cast(image, POINTER),
            None,
        )
        self._call("cuptiProfilerHostInitialize", host)
        try:
            return self._config(host.host, [metric.encode() for metric in metrics])
        finally:
            last = _Host(ctypes.sizeof(_Host), None, host.host)
            self._call("cuptiProfilerHostDeinitialize", last)

    def _config(self, host, names):
        array = (ctypes.c_char_p * len(names))(*names)
        add = _AddMetrics(ctypes.sizeof(_AddMetrics), None, host, array, len(names))
        if self._cupti.cuptiProfilerHostConfigAddMetrics(ctypes.byref(add)) != 0:
            return None
        size = _ImageSize(ctypes.sizeof(_ImageSize), None, host, 0)
        self._call("cuptiProfilerHostGetConfigImageSize", size)
        buffer = ctypes.create_string_buffer(size.size)
        address = ctypes.cast(buffer, POINTER)
        image = _Image(ctypes.sizeof(_Image), None, host, size.size, address)
        self._call("cuptiProfilerHostGetConfigImage", image)
        passes = _Passes(ctypes.sizeof(_Passes), None, size.size, address, 0)
        self._call("cuptiProfilerHostGetNumOfPasses", passes)
        return passes.passes, size.size

    def _call(self, function, params):
        result = getattr(self._cupti, function)(ctypes.byref(params))
        assert result == 0, f"{function} returned {result}"
