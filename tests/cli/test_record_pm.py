"""The options of ``gnomon record`` about PM sampling."""

import pytest
from click.testing import CliRunner

from gnomon.cli import recorder
from gnomon.cli.commands import record


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

    def run(*options):
        arguments = ["-o", str(tmp_path / "run"), *options]
        result = CliRunner().invoke(record.command, arguments, env={"GNOMON_PM_ENABLED": "false"})
        return (seen[-1] if seen else None), result.output

    return run


@pytest.mark.parametrize(
    ("options", "enabled", "every_s"),
    [([], False, 10.0), (["--pm"], True, 10.0), (["--pm-always"], True, 0.0)],
)
def test_pm_is_sampled_in_turns_unless_told_otherwise(settings_of, options, enabled, every_s):
    settings, _ = settings_of(*options)

    assert (settings.pm_enabled, settings.pm_on_s, settings.pm_every_s) == (enabled, 1.0, every_s)


def test_never_and_always_exclude_each_other(settings_of):
    settings, output = settings_of("--no-pm", "--pm-always")

    assert settings is None
    assert "--no-pm and --pm-always exclude each other" in output
