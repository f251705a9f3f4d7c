"""Settings: command line over ``GNOMON_*`` over the user's file over the machine's file.

Files are TOML with one flat key per setting: ``~/.config/gnomon/config.toml``
(``$XDG_CONFIG_HOME`` is respected), then ``/etc/gnomon/config.toml``. The environment variable of
a key is its name in capitals behind ``GNOMON_``. An unknown key in a file is an error, so that a
typing mistake cannot pass unseen.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from gnomon import _setting_values as kinds
from gnomon._errors import GnomonError
from gnomon.enums import Counters, CounterSet

MACHINE_FILE = Path("/etc/gnomon/config.toml")
ENVIRONMENT_PREFIX = "GNOMON_"


class ConfigurationError(GnomonError):
    """A setting that cannot be used; the message names where it stands, and what is allowed."""


def _meaning(parse: Callable[[Any], object], allowed: str, meaning: str) -> dict[str, Any]:
    """Say how a field is configured; its parser raises ValueError on a bad value."""
    return {"parse": parse, "allowed": allowed, "meaning": meaning}


def _setting(default: object, parse: Callable[[Any], object], allowed: str, meaning: str) -> Any:
    return field(default=default, metadata=_meaning(parse, allowed, meaning))


def _no_pids() -> Iterable[int]:
    return ()


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Whom to trace: processes by number, by name, those on GPUs, or one that waits to begin.

    ``names`` are whole short names (`ps -o comm`). ``command`` is what the only pid will execute.
    """

    pids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    every_gpu_process: bool = False
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelsRequest:
    """Where programs record their kernels (``sources/_kernels_control.py``), and when.

    ``on_s`` seconds from each multiple of ``every_s``; all the time where that is not longer.
    """

    directory: Path
    on_s: float = 1.0
    every_s: float = 20.0

    @property
    def is_always(self) -> bool:
        return self.every_s <= self.on_s


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, with their defaults.

    ``watched_pids`` is not configuration: a command that knows which processes matter (those on
    the GPUs) puts its own callable there, and ``sources/host.py`` asks it at every reading.
    ``trace`` and ``kernels`` are likewise what a command was asked for, None for nothing.
    """

    record_period_s: float = _setting(
        1.0, kinds.seconds, kinds.PERIOD, "how often NVML counters are read and written"
    )
    gpm_period_s: float = _setting(
        1.0,
        kinds.seconds,
        kinds.PERIOD,
        "how often GPM counters are read; under 0.1 they repeat themselves",
    )
    host_period_s: float = _setting(
        1.0, kinds.seconds, kinds.PERIOD, "how often the host and the watched processes are read"
    )
    pm_enabled: bool = _setting(
        True,
        kinds.boolean,
        "true or false",
        "sample hardware counters through CUPTI where the driver lets us (the true SM clock)",
    )
    pm_on_s: float = _setting(
        1.0,
        kinds.turn,
        kinds.TURN,
        "how long a turn of PM sampling lasts; it slows the GPU down meanwhile",
    )
    pm_every_s: float = _setting(
        10.0,
        kinds.turn_or_zero,
        f"0, or {kinds.TURN}",
        "from one turn of PM sampling to the next; 0, or no more than pm_on_s: all the time",
    )
    pm_interval_s: float | None = _setting(
        None,
        kinds.interval,
        kinds.INTERVAL,
        "length of a sample of PM sampling; none: 0.01, with pm_samples 0.001",
    )
    pm_samples: bool = _setting(
        False,
        kinds.boolean,
        "true or false",
        "keep every sample of PM sampling (the table pm_samples), not only rows of 0.1 s",
    )
    pm_counter_sets: tuple[CounterSet, ...] = _setting(
        tuple(CounterSet),
        kinds.counter_sets,
        kinds.SETS,
        "what the turns of PM sampling read with pm_samples: the first in every other turn",
    )
    counters: Counters = field(
        default=Counters.AUTO,
        metadata=_meaning(
            kinds.counters,
            f"one of {', '.join(Counters)}",
            "where hardware counters are read; auto: GPM, and where a GPU lacks it CUPTI all the "
            "time",
        ),
    )
    trace_rows_per_s: float = _setting(
        2_000.0,
        kinds.rows,
        "a number from 10 to 1000000",
        "how many calls, and how many stays off the CPU, a trace keeps as rows of their own",
    )
    trace_launch_budget_pct: float = _setting(
        2.0,
        kinds.share,
        "a number above 0, up to 100",
        "share of a thread's time that tracing its launches may take; beyond, in windows",
    )
    retention_max_bytes: int | None = _setting(
        10 * 2**30,
        kinds.limit,
        kinds.WHOLE,
        "oldest segments are removed beyond this size of a recording",
    )
    retention_max_age_s: int | None = _setting(
        30 * 86400, kinds.limit, kinds.WHOLE, "segments older than this are removed"
    )
    gpu_hour_cost: float | None = _setting(
        None,
        kinds.cost,
        "a number of 0 or more",
        "price of one GPU for an hour; none: no costs shown",
    )
    currency: str = _setting(
        "USD", kinds.currency, "three capital letters (ISO 4217)", "currency of gpu_hour_cost"
    )
    kernel_families_file: Path | None = field(
        default=None,
        metadata=_meaning(
            kinds.absolute_path,
            "an absolute path",
            "a file of patterns that tell what kernels are for, before the built-in ones",
        ),
    )
    state_directory: Path = field(
        default_factory=lambda: state_directory(os.environ),
        metadata=_meaning(
            kinds.absolute_path, "an absolute path", "recordings, calibrations and baselines"
        ),
    )
    runtime_directory: Path = field(
        default_factory=lambda: runtime_directory(os.environ),
        metadata=_meaning(
            kinds.absolute_path, "an absolute path", "where a live recording announces itself"
        ),
    )
    watched_pids: Callable[[], Iterable[int]] = _no_pids
    trace: TraceRequest | None = None
    kernels: KernelsRequest | None = None


def configurable() -> Mapping[str, Mapping[str, Any]]:
    """Return key -> default, parse, allowed and meaning, in the order of the documentation."""
    return {
        each.name: {"default": None if each.default is MISSING else each.default, **each.metadata}
        for each in fields(Settings)
        if each.metadata
    }


def load(
    command_line: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    machine_file: Path = MACHINE_FILE,
) -> Settings:
    """Return the settings in force. Values of None in ``command_line`` count as not given.

    Raises ConfigurationError on an unknown key or a value that cannot be used.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {
        "state_directory": state_directory(environment),
        "runtime_directory": runtime_directory(environment),
    }
    values |= _from_file(machine_file)
    values |= _from_file(user_file(environment))
    values |= _from_environment(environment)
    for key, value in (command_line or {}).items():
        if value is not None:
            values[key] = _parse(key, value, "command line")
    return Settings(**values)


def user_file(environment: Mapping[str, str]) -> Path:
    """Return where the user's own configuration file belongs."""
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else _home(environment) / ".config") / "gnomon/config.toml"


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of what outlives a run: /var/lib/gnomon for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/gnomon")
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else _home(environment) / ".local/state") / "gnomon"


def runtime_directory(environment: Mapping[str, str]) -> Path:
    """Return the directory of sockets and the like: /run/gnomon for root."""
    if os.geteuid() == 0:
        return Path("/run/gnomon")
    base = environment.get("XDG_RUNTIME_DIR")
    return Path(base) / "gnomon" if base else state_directory(environment) / "run"


def _home(environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME")
    return Path(home) if home else Path("~").expanduser()


def _from_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    return {key: _parse(key, value, str(path)) for key, value in values.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """Read ``GNOMON_*``. Unknown ones pass, unless they look like a mistyped setting.

    Kubernetes puts GNOMON_SERVICE_HOST and its like into every pod beside a service of that name.
    """
    known = {ENVIRONMENT_PREFIX + key.upper(): key for key in configurable()}
    values = {}
    for variable, value in environment.items():
        if variable in known:
            values[known[variable]] = _parse(known[variable], value, f"environment, {variable}")
        elif variable.startswith(ENVIRONMENT_PREFIX):
            near = difflib.get_close_matches(variable, known, n=1, cutoff=0.85)
            if near:
                raise ConfigurationError(
                    f"environment: {variable} is not a setting; did you mean {near[0]}?"
                )
    return values


def _parse(key: str, value: object, where: str) -> object:
    known = configurable()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigurationError(
            f"{where}: unknown key {key!r}; {guess}allowed keys: {', '.join(known)}"
        )
    try:
        return known[key]["parse"](value)
    except ValueError:
        allowed = known[key]["allowed"]
        raise ConfigurationError(f"{where}: {key} must be {allowed}, not {value!r}") from None
