"""Settings: which source wins, what the defaults are, and what an error tells."""

import dataclasses
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gnomon import configuration
from gnomon.configuration import ConfigurationError, Settings, load


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's home, not root's; returns functions to write both files and to load."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    class Home:
        def __init__(self):
            self.environment = {"HOME": str(tmp_path)}
            self.user = tmp_path / ".config/gnomon/config.toml"
            self.machine = tmp_path / "etc/config.toml"

        def write(self, path, text):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

        def load(self, command_line=None, **environment):
            return load(
                command_line,
                environment=self.environment | environment,
                machine_file=self.machine,
            )

    return Home()


def test_defaults_are_documented_and_pass_their_own_checks(home):
    settings = home.load()

    for key, about in configuration.configurable().items():
        value = getattr(settings, key)
        assert about["meaning"]
        assert about["allowed"]
        if value is not None:
            assert about["parse"](value) == value


def test_each_layer_overrides_the_one_below(home):
    assert home.load().record_period_s == 1.0
    home.write(home.machine, "record_period_s = 2\ncurrency = 'EUR'\npm_enabled = false")
    assert home.load().record_period_s == 2.0
    home.write(home.user, "record_period_s = 3\ncurrency = 'CHF'")
    assert home.load().record_period_s == 3.0
    assert home.load(GNOMON_RECORD_PERIOD_S="4").record_period_s == 4.0
    top = home.load({"record_period_s": 5, "currency": None}, GNOMON_RECORD_PERIOD_S="4")

    assert (top.record_period_s, top.currency, top.pm_enabled) == (5.0, "CHF", False)


def test_every_key_can_come_from_a_file_and_from_the_environment(home):
    text = """
        record_period_s = 0.1
        gpm_period_s = 0.2
        host_period_s = 0.5
        pm_enabled = false
        pm_on_s = 0.5
        pm_every_s = 0
        pm_interval_s = 0.0001
        pm_samples = true
        pm_counter_sets = "caches, throughput"
        counters = "cupti"
        trace_rows_per_s = 500
        trace_launch_budget_pct = 0.5
        retention_max_bytes = 1000000
        retention_max_age_s = "unlimited"
        gpu_hour_cost = 2.49
        currency = "EUR"
        kernel_families_file = "/srv/families.toml"
        state_directory = "/srv/state"
        runtime_directory = "/srv/run"
    """
    home.write(home.user, text)
    values = tomllib.loads(text)
    variables = {f"GNOMON_{key.upper()}": str(value) for key, value in values.items()}

    from_file = home.load()
    home.user.unlink()

    assert set(values) == set(configuration.configurable())
    assert from_file == home.load(**variables)
    assert from_file.retention_max_age_s is None
    assert from_file.gpu_hour_cost == 2.49
    assert from_file.state_directory == Path("/srv/state")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("record_period_s = 0", "record_period_s must be a number of seconds from 0.01 to 3600"),
        ("record_period_s = 'often'", "not 'often'"),
        ("record_period_s = true", "not True"),
        ("record_period_s = nan", "not nan"),
        ("retention_max_bytes = 1.5", 'a whole number above 0, or "unlimited"'),
        ("retention_max_age_s = -1", "not -1"),
        ("pm_enabled = 'perhaps'", "pm_enabled must be true or false, not 'perhaps'"),
        ("pm_on_s = 0.05", "pm_on_s must be a number of seconds from 0.1 to 3600"),
        ("pm_every_s = 0.05", "pm_every_s must be 0, or a number of seconds from 0.1 to 3600"),
        ("gpu_hour_cost = -2", "a number of 0 or more"),
        ("currency = 'euro'", "three capital letters"),
        ("state_directory = 'here'", "an absolute path"),
        ("record_perid_s = 1", "unknown key 'record_perid_s'; did you mean 'record_period_s'?"),
        ("colour = 1", "allowed keys: record_period_s, gpm_period_s"),
        ("[record]\nperiod_s = 1", "unknown key 'record'"),
    ],
)
def test_an_error_names_the_file_the_key_and_what_is_allowed(home, line, told):
    home.write(home.user, line)

    with pytest.raises(ConfigurationError) as caught:
        home.load()

    assert str(home.user) in str(caught.value)
    assert told in str(caught.value)


def test_errors_of_the_other_layers_name_them_too(home):
    with pytest.raises(ConfigurationError, match="environment, GNOMON_CURRENCY: currency must"):
        home.load(GNOMON_CURRENCY="dollars")
    with pytest.raises(ConfigurationError, match="command line: record_period_s must be"):
        home.load({"record_period_s": -1})
    home.write(home.machine, "this is not TOML")
    with pytest.raises(ConfigurationError, match=r"etc/config.toml is not valid TOML"):
        home.load()


def test_a_mistyped_variable_is_an_error_and_a_foreign_one_is_not(home):
    with pytest.raises(ConfigurationError, match="did you mean GNOMON_RECORD_PERIOD_S"):
        home.load(GNOMON_RECORD_PERIODS="1")

    assert home.load(GNOMON_SERVICE_HOST="10.0.0.1", GNOMON_PORT="tcp://10.0.0.1:80")


def test_a_file_that_cannot_be_read_is_an_error_and_none_is_not(home):
    home.user.mkdir(parents=True)

    with pytest.raises(ConfigurationError, match=r"cannot read .*Is a directory"):
        home.load()
    home.user.rmdir()
    assert home.load().record_period_s == 1.0


def test_directories_follow_the_xdg_rules_and_root_has_the_machines(home, monkeypatch):
    settings = home.load()
    base = Path(home.environment["HOME"])
    assert settings.state_directory == base / ".local/state/gnomon"
    assert settings.runtime_directory == base / ".local/state/gnomon/run"

    moved = home.load(XDG_STATE_HOME="/s", XDG_RUNTIME_DIR="/run/user/1000")
    assert moved.state_directory == Path("/s/gnomon")
    assert moved.runtime_directory == Path("/run/user/1000/gnomon")

    home.write(base / "xdg/gnomon/config.toml", "currency = 'GBP'")
    assert home.load(XDG_CONFIG_HOME=str(base / "xdg")).currency == "GBP"

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert home.load().state_directory == Path("/var/lib/gnomon")
    assert home.load().runtime_directory == Path("/run/gnomon")


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().currency = "EUR"


@given(key=st.sampled_from(list(configuration.configurable())), text=st.text(max_size=20))
@example(key="state_directory", text="~nobody-of-this-name/x")
@example(key="record_period_s", text="1e400")
@example(key="retention_max_bytes", text="unlimited")
def test_any_text_is_taken_or_refused_with_a_message(key, text):
    variable = f"GNOMON_{key.upper()}"
    parse = configuration.configurable()[key]["parse"]
    try:
        expected = parse(text)
    except ValueError:
        with pytest.raises(ConfigurationError, match=variable):
            load(environment={variable: text}, machine_file=Path("/nonexistent"))
        return

    settings = load(environment={variable: text}, machine_file=Path("/nonexistent"))

    assert getattr(settings, key) == expected
