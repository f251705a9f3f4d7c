"""How much work a case got done over time."""

from __future__ import annotations

import numpy as np

from gnomon.analysis.lanes import Grid, launches_per_s
from gnomon.analysis.latency import among
from gnomon.analysis.operations import Kind
from gnomon.analysis.steps import Steps, steps
from gnomon.analysis.throughput import Throughput, throughput
from gnomon.detectors.case import Case


def steps_of(case: Case) -> Steps | None:
    """Return the steps of the busiest thread that feeds a GPU; None where it has no period."""
    if not case.dispatch_threads:
        return None
    busiest = case.dispatch_threads[0]
    return steps(case.session, case.scope, busiest.thread, busiest.calls, busiest.span)


def launched_sql(case: Case) -> str:
    """Return SQL that is true of launches."""
    return among(case.operations, Kind.LAUNCH, Kind.GRAPH_LAUNCH)


def work_of(case: Case, grid: Grid) -> Throughput | None:
    """Return the best measure of work there is; of biased rows, the launches that were kept."""
    launched = launched_sql(case)
    found = throughput(case.measurements, case.session, grid, steps_of(case), launched)
    if found is not None:
        return found
    launches = launches_per_s(case.session, grid, launched=launched)
    return None if launches is None else Throughput("launches kept", grid, np.array(launches))
