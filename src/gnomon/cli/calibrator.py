"""One calibration: finds an idle GPU, measures it, and says what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from gnomon.cli.device_watch import DeviceWatch, choose
from gnomon.configuration import Settings
from gnomon.hardware import HardwareProfile, profile
from gnomon.hardware.calibration import document, measuring
from gnomon.hardware.calibration.points import CalibrationError
from gnomon.sources import nvml
from gnomon.sources.pm import PmSource

PM_PERIOD_NS = 100_000_000  # the length of PM sampling's rows
NO_TORCH = (
    "PyTorch is not installed, and calibrate measures with it: pip install 'gnomon[calibrate]'"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured; ``profile`` has the peaks that it is a share of.

    ``true_clock_missing``: why clocks are NVML's; empty where they are true ones.
    """

    document: Mapping[str, Any]
    profile: HardwareProfile
    true_clock_missing: str


def calibrate(
    settings: Settings, gpu: str | None, progress: measuring.Progress, *, force: bool
) -> Calibration:
    """Measure the GPU of this UUID or index, or else the first idle one.

    Raises SourceError without a driver, CalibrationError without PyTorch, without an idle GPU
    (unless ``force``), or where too little could be measured.
    """
    if find_spec("torch") is None:
        raise CalibrationError(NO_TORCH)
    pm = PmSource(PM_PERIOD_NS, enabled=settings.pm_enabled)
    with DeviceWatch(nvml.create(settings), pm) as watch:
        progress("looking whether the GPU is idle", 0.0)
        gpus, occupied = watch.gpus(), watch.occupied()
        uuid = choose(gpus, occupied, gpu, force=force)
        peers = [] if force else _peers(gpus, occupied, uuid)
        # Before CUDA starts: device 0 is the GPU that was chosen, 1 its peer.
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join([uuid, *peers[:1]])
        return _measure(watch, uuid, has_peer=bool(peers), progress=progress)


def _peers(
    gpus: Mapping[str, Mapping[str, Any]], occupied: Mapping[str, list[str]], uuid: str
) -> list[str]:
    """Return the other idle GPUs of the same kind."""
    name = gpus[uuid].get("name")
    return [
        other
        for other, facts in gpus.items()
        if other != uuid
        and facts.get("name") == name
        and not occupied[other]
        and not facts.get("mig_mode")
    ]


def _measure(
    watch: DeviceWatch, uuid: str, *, has_peer: bool, progress: measuring.Progress
) -> Calibration:
    facts = watch.gpus()[uuid]
    found = profile(facts)
    if not found.peak_flops or not found.dram_bytes_per_s:
        raise CalibrationError(
            f"{found.name} ({uuid}): its peaks are not known, so nothing can be a share of them; "
            "please report the output of `gnomon doctor`"
        )
    started_s = time.monotonic()
    progress("starting PyTorch", 0.0)
    watch.watch(uuid)

    from gnomon.hardware.calibration import torch_link  # noqa: PLC0415
    from gnomon.hardware.calibration.torch_bench import TorchBench, load_torch  # noqa: PLC0415

    torch = load_torch()
    bench = TorchBench(watch)
    bench.dtypes = tuple(dtype for dtype in bench.dtypes if found.flops(dtype))
    all_reduce: Callable[[], Any] | None = partial(torch_link.measure, 2) if has_peer else None
    measured = measuring.run(bench, watch, all_reduce, progress, started_s)
    device = document.Device(
        gpu_uuid=uuid,
        gpu_name=str(facts.get("name")),
        sku=found.sku,
        driver=watch.driver(),
        torch=str(torch.__version__),
        cuda=str(torch.version.cuda),
        power_limit_watts=facts.get("power_limit_watts"),
    )
    built = document.build(device, measured, time.time_ns(), time.monotonic() - started_s)
    return Calibration(built, found, watch.true_clock_missing)
