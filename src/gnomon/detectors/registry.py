"""From the files of ``causes``, and from third parties' entry points, to findings."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from gnomon._errors import GnomonError
from gnomon.detectors import causes
from gnomon.detectors.case import Case
from gnomon.detectors.finding import Finding, ranked

# A third party names "package.module:function" in this group; the function takes a Case.
ENTRY_POINTS = "gnomon.detectors"

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


def diagnose(case: Case, chosen: Mapping[str, Detector] | None = None) -> Diagnosis:
    """Run detectors over a case; one that cannot work takes no other along."""
    findings: list[Finding] = []
    failed: dict[str, str] = {}
    for name, detect in (detectors() if chosen is None else chosen).items():
        try:
            findings += detect(case)
        except GnomonError as error:
            failed[name] = str(error)
    return Diagnosis(ranked(findings), failed)
