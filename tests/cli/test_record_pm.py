"""The options of ``gnomon record`` about PM sampling."""

import pytest
from click.testing import CliRunner

from gnomon.cli import recorder
from gnomon.cli.commands import record
from gnomon.enums import Counters, CounterSet


@pytest.fixture
def settings_of(monkeypatch, tmp_path):
    """Return a function of options: the settings that would be recorded with, and the output."""
    seen = []

    class Recorder:
        def __init__(self, _directory, settings):
            seen.append(settings)

        def run(self, _workload, _duration_ns):
            return 0

    monkeypatch.setattr(recorder, "Recorder", Recorder)

    def run(*options, **environment):
        arguments = ["-o", str(tmp_path / "run"), *options]
        file = {"GNOMON_PM_ENABLED": "false", **environment}
        result = CliRunner().invoke(record.command, arguments, env=file)
        return (seen[-1] if seen else None), result.output + str(result.exception or "")

    return run


@pytest.mark.parametrize(
    ("options", "enabled", "every_s"),
    [([], False, 10.0), (["--pm"], True, 10.0), (["--pm-always"], True, 0.0)],
)
def test_pm_is_sampled_in_turns_unless_told_otherwise(settings_of, options, enabled, every_s):
    settings, _ = settings_of(*options)

    assert (settings.pm_enabled, settings.pm_on_s, settings.pm_every_s) == (enabled, 1.0, every_s)


def test_every_sample_of_some_sets(settings_of):
    settings, _ = settings_of(
        "--pm-samples", "--pm-interval", "50us", "--pm-sets", "caches,throughput"
    )

    assert (settings.pm_enabled, settings.pm_samples, settings.pm_interval_s) == (True, True, 5e-5)
    assert settings.pm_counter_sets == (CounterSet.CACHES, CounterSet.THROUGHPUT)


@pytest.mark.parametrize(
    ("options", "counters", "pm"),
    [([], Counters.AUTO, False), (["--counters", "cupti"], Counters.CUPTI, True),
     (["--counters", "gpm", "--pm"], Counters.GPM, False)],
)  # fmt: skip
def test_where_counters_are_read(settings_of, options, counters, pm):
    settings, _ = settings_of(*options)

    assert (settings.counters, settings.pm_enabled) == (counters, pm)


@pytest.mark.parametrize("option", ["--pm", "--no-pm", "--pm-always", "--pm-samples"])
@pytest.mark.parametrize("elsewhere", ["gpm", "cupti"])
def test_what_is_said_goes_before_what_a_file_says(settings_of, option, elsewhere):
    settings, _ = settings_of(option, GNOMON_COUNTERS=elsewhere)

    assert settings.counters is Counters.AUTO
    assert settings.pm_enabled is (option != "--no-pm")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--no-pm", "--pm-always"), "--no-pm and --pm-always exclude each other"),
        (("--no-pm", "--counters", "cupti"), "--no-pm and --counters cupti exclude each other"),
        (("--counters", "gpm", "--pm-samples"), "--counters gpm and --pm-samples exclude each"),
        (("--pm-sets", "caches"), "--pm-sets says what --pm-samples reads"),
        (("--pm-samples", "--pm-interval", "10us"), "pm_interval_s must be a number of seconds"),
        (("--pm-samples", "--pm-sets", "cache"), "some of throughput, caches, instructions"),
    ],
)
def test_what_does_not_go_together(settings_of, options, words):
    settings, output = settings_of(*options)

    assert settings is None
    assert words in output
