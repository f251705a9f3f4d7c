"""From the files of ``causes``, and from third parties' entry points, to findings."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from typing import TypeVar

from gnomon._errors import GnomonError
from gnomon.detectors import causes
from gnomon.detectors.case import Case
from gnomon.detectors.finding import Finding, ranked
from gnomon.detectors.needs import Need
from gnomon.detectors.unbounded import held

# A third party names "package.module:function" in this group; the function takes a Case.
ENTRY_POINTS = "gnomon.detectors"

Found = TypeVar("Found")
Detector = Callable[[Case], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Findings in the order in which they are read, and detectors that failed, with the reason."""

    findings: Sequence[Finding]
    failed: Mapping[str, str]


def detectors() -> Mapping[str, Detector]:
    """Return name -> detector: a module of ``causes`` has ``detect``."""
    found: dict[str, Detector] = {
        module.name: importlib.import_module(f"{causes.__name__}.{module.name}").detect
        for module in pkgutil.iter_modules(causes.__path__)
        if not module.name.startswith("_")
    }
    for entry in entry_points(group=ENTRY_POINTS):
        found[entry.name] = entry.load()
    return found


def needs_of(detect: Detector) -> Sequence[Need]:
    """Return what a detector says it must have (``NEEDS`` of its module) to see anything."""
    return getattr(sys.modules.get(detect.__module__), "NEEDS", ())


def diagnose(case: Case, chosen: Mapping[str, Detector] | None = None) -> Diagnosis:
    """Run detectors over a case; one that cannot work takes no other along."""
    findings: list[Finding] = []
    failed: dict[str, str] = {}
    for name, detect in (detectors() if chosen is None else chosen).items():
        findings += attempted(name, partial(_held, detect), case, failed)
    return Diagnosis(ranked(findings), failed)


def _held(detect: Detector, case: Case) -> Iterable[Finding]:
    """Yield what a detector finds, as far as it can be held."""
    for finding in detect(case):
        yield held(case, finding)


def attempted(
    name: str, work: Callable[[Case], Iterable[Found]], case: Case, failed: dict[str, str]
) -> list[Found]:
    """Return what some work finds, up to where it failed: that goes into ``failed`` by its name."""
    found: list[Found] = []
    try:
        found += work(case)
    except GnomonError as error:
        failed[name] = str(error)
    except Exception as error:  # noqa: BLE001  an error in one file must not hide the others'
        failed[name] = f"{type(error).__name__}: {error}"
    return found
