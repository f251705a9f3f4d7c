"""All scenarios by name."""

from __future__ import annotations

from collections.abc import Mapping

from lab.scenarios import (
    cpu_contention,
    host_bound,
    input_pipeline_stall,
    launch_bound,
    voluntary_wait,
)
from lab.scenarios.stage import Scenario

SCENARIOS: Mapping[str, Scenario] = {
    one.name: one
    for one in (
        launch_bound.SCENARIO,
        input_pipeline_stall.SCENARIO,
        cpu_contention.SCENARIO,
        host_bound.SCENARIO,
        voluntary_wait.SCENARIO,
    )
}
