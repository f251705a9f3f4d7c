"""What one GPU could do: its table row, or what its own facts let one compute.

Precedence: calibrated, then table, then architecture constants. The device itself wins on the
number of SMs, on MIG slices and on how its links are configured, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gnomon.enums import Pipe
from gnomon.hardware import links
from gnomon.hardware._facts import name_of, of_mig_instance, positive, sm_count
from gnomon.hardware.calibration import calibrated_profile
from gnomon.hardware.computed import computed_profile
from gnomon.hardware.matching import is_mig, match, mig_memory_eighths
from gnomon.hardware.peaks import disagreements, reference_clocks_mhz
from gnomon.hardware.profile_types import HardwareProfile
from gnomon.hardware.specs import GpuSpec, load, lookup


def profile(
    facts: Mapping[str, Any],
    calibration: Mapping[str, Any] | None = None,
    *,
    mig_uuid: str | None = None,
) -> HardwareProfile:
    """Return what the GPU of these facts could do; missing or odd facts leave values None.

    ``facts`` are those of ``recording.base.Meta.gpus``; beyond them ``sku`` names a table row
    outright. With ``mig_uuid`` the profile is that of the instance, whose facts are in
    ``mig_instances``. ``calibration`` is explained in ``calibration.py``.
    """
    if mig_uuid is not None:
        facts = of_mig_instance(facts, mig_uuid)
    spec = load().get(str(facts.get("sku"))) or match(name_of(facts, ""))
    base = computed_profile(facts) if spec is None else _table_profile(spec, facts)
    return base if not calibration else calibrated_profile(base, calibration)


def sku_facts(sku: str) -> dict[str, Any]:
    """Return the facts of a SKU of the table, for data that came without its device.

    Raises GnomonError where the table has no such SKU.
    """
    spec = lookup(sku)
    facts = {
        "sku": spec.sku,
        "name": spec.nvml_names[0],
        "compute_capability": spec.compute_capability,
        "sm_count": spec.sm_count,
        "memory_bus_bits": spec.memory_bus_bits,
        "power_limit_default_watts": spec.tdp_watts,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _table_profile(spec: GpuSpec, facts: Mapping[str, Any]) -> HardwareProfile:
    name = name_of(facts, spec.nvml_names[0])
    mig = is_mig(facts)
    device_sms = sm_count(facts) or (None if mig else spec.sm_count)
    clocks = reference_clocks_mhz(spec, None if mig else device_sms)
    eighths = mig_memory_eighths(facts, spec.memory_bytes) if mig else 8
    return HardwareProfile(
        name=name,
        sku=spec.sku,
        peak_source="table",
        notes=_notes(spec, facts, clocks, device_sms),
        spec=spec,
        sm_count=device_sms,
        dram_bytes_per_s=spec.dram_bytes_per_s * eighths / 8 if eighths else None,
        pcie_bytes_per_s=links.pcie_bytes_per_s(facts, spec),
        nvlink_bytes_per_s=links.nvlink_bytes_per_s(facts, spec.rates, spec),
        tdp_watts=spec.tdp_watts,
        max_memory_clock_mhz=positive(facts, "max_memory_clock_mhz"),
        peak_flops=MappingProxyType(_peaks(spec, device_sms, clocks, mig=mig)),
        reference_clocks_mhz=MappingProxyType(clocks),
    )


def _peaks(
    spec: GpuSpec, device_sms: int | None, clocks: Mapping[Pipe, float], *, mig: bool
) -> dict[str, float]:
    """Return the datasheet's peaks, scaled to the SMs that this device really has."""
    if mig and (device_sms is None or spec.sm_count is None):
        return {}
    share = device_sms / spec.sm_count if device_sms and spec.sm_count else 1.0
    peaks = {dtype: flops * share for dtype, flops in spec.peak_flops.items()}
    if device_sms and Pipe.FP16 in clocks:
        # No datasheet of the table prints half precision outside the tensor pipe.
        per_clock = spec.rates.flop_per_clock_per_sm["fp16_vector"] * device_sms
        peaks["fp16_vector"] = per_clock * clocks[Pipe.FP16] * 1e6
    return peaks


def _notes(
    spec: GpuSpec,
    facts: Mapping[str, Any],
    clocks: Mapping[Pipe, float],
    device_sms: int | None,
) -> tuple[str, ...]:
    notes = list(disagreements(spec))
    unknown = [str(pipe) for pipe in (Pipe.TENSOR, Pipe.FP32) if pipe not in clocks]
    if unknown:
        notes.append(
            f"the reference clock of {' and '.join(unknown)} is not known for {spec.sku}: its SM "
            "count or its rate per SM is not published"
        )
    if is_mig(facts):
        notes.append("a MIG device: SMs and memory are its slices', PCIe is shared with others")
        if device_sms is None:
            notes.append("the MIG device does not tell its SM count: no FLOP peaks")
    elif device_sms and spec.sm_count and device_sms != spec.sm_count:
        notes.append(
            f"this device has {device_sms} SMs, the table's {spec.sku} has {spec.sm_count}: "
            "FLOP peaks are scaled to the device's"
        )
    if facts.get("nvlink_count") == 0 and spec.nvlink_bytes_per_s:
        notes.append("this GPU has no NVLink here, other boards of its kind have")
    return tuple(notes)
