"""Stand-ins for what a test machine lacks, at the real library boundary."""

from tests.standins.scenario import DEFAULT_UUID, Scenario, build_nvml, library_environment

__all__ = ["DEFAULT_UUID", "Scenario", "build_nvml", "library_environment"]
