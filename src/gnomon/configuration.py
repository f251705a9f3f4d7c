"""Settings: command line over ``GNOMON_*`` over the user's file over the machine's file.

Files are TOML with one flat key per setting: ``~/.config/gnomon/config.toml``
(``$XDG_CONFIG_HOME`` is respected), then ``/etc/gnomon/config.toml``. The environment variable of
a key is its name in capitals behind ``GNOMON_``. An unknown key in a file is an error, so that a
typing mistake cannot pass unseen.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from gnomon._errors import GnomonError

MACHINE_FILE = Path("/etc/gnomon/config.toml")
ENVIRONMENT_PREFIX = "GNOMON_"
SHORTEST_PERIOD_S = 0.01
LONGEST_PERIOD_S = 3600.0
# A PM row is 100 ms long, and a turn's first sample is of no use.
SHORTEST_TURN_S = 0.1
UNLIMITED = "unlimited"


class ConfigurationError(GnomonError):
    """A setting that cannot be used; the message names where it stands, and what is allowed."""


def _seconds(value: object) -> float:
    number = _number(value)
    if not SHORTEST_PERIOD_S <= number <= LONGEST_PERIOD_S:
        raise ValueError
    return number


def _turn(value: object) -> float:
    number = _seconds(value)
    if number < SHORTEST_TURN_S:
        raise ValueError
    return number


def _turn_or_zero(value: object) -> float:
    number = _number(value)
    return number if number == 0 else _turn(number)


def _cost(value: object) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError
    return number


def _rows(value: object) -> float:
    number = _number(value)
    if not 10 <= number <= 1_000_000:
        raise ValueError
    return number


def _share(value: object) -> float:
    number = _number(value)
    if not 0 < number <= 100:
        raise ValueError
    return number


def _limit(value: object) -> int | None:
    if value == UNLIMITED:
        return None
    number = _number(value)
    if number <= 0 or number != int(number):
        raise ValueError
    return int(number)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError  # noqa: TRY004  one exception for "not this kind of value"
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError
    return words[value.lower()]


def _currency(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError
    return value


def _directory(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:  # "~nobody" of an unknown user
        raise ValueError from error
    if not path.is_absolute():
        raise ValueError
    return path


_PERIOD = f"a number of seconds from {SHORTEST_PERIOD_S:g} to {LONGEST_PERIOD_S:g}"
_TURN = f"a number of seconds from {SHORTEST_TURN_S:g} to {LONGEST_PERIOD_S:g}"
_WHOLE = f'a whole number above 0, or "{UNLIMITED}"'


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
class Settings:
    """All settings, with their defaults.

    ``watched_pids`` is not configuration: a command that knows which processes matter (those on
    the GPUs) puts its own callable there, and ``sources/host.py`` asks it at every reading.
    ``trace`` is likewise what a command was asked to trace, None for nothing.
    """

    record_period_s: float = _setting(
        1.0, _seconds, _PERIOD, "how often NVML counters are read and written"
    )
    gpm_period_s: float = _setting(
        1.0, _seconds, _PERIOD, "how often GPM counters are read; under 0.1 they repeat themselves"
    )
    host_period_s: float = _setting(
        1.0, _seconds, _PERIOD, "how often the host and the watched processes are read"
    )
    pm_enabled: bool = _setting(
        True,
        _boolean,
        "true or false",
        "sample hardware counters through CUPTI where the driver lets us (the true SM clock)",
    )
    pm_on_s: float = _setting(
        1.0, _turn, _TURN, "how long a turn of PM sampling lasts; it slows the GPU down meanwhile"
    )
    pm_every_s: float = _setting(
        10.0,
        _turn_or_zero,
        f"0, or {_TURN}",
        "from one turn of PM sampling to the next; 0, or no more than pm_on_s: all the time",
    )
    trace_rows_per_s: float = _setting(
        2_000.0,
        _rows,
        "a number from 10 to 1000000",
        "how many calls, and how many stays off the CPU, a trace keeps as rows of their own",
    )
    trace_launch_budget_pct: float = _setting(
        2.0,
        _share,
        "a number above 0, up to 100",
        "share of a thread's time that tracing its launches may take; beyond, in windows",
    )
    retention_max_bytes: int | None = _setting(
        10 * 2**30, _limit, _WHOLE, "oldest segments are removed beyond this size of a recording"
    )
    retention_max_age_s: int | None = _setting(
        30 * 86400, _limit, _WHOLE, "segments older than this are removed"
    )
    gpu_hour_cost: float | None = _setting(
        None, _cost, "a number of 0 or more", "price of one GPU for an hour; none: no costs shown"
    )
    currency: str = _setting(
        "USD", _currency, "three capital letters (ISO 4217)", "currency of gpu_hour_cost"
    )
    state_directory: Path = field(
        default_factory=lambda: state_directory(os.environ),
        metadata=_meaning(_directory, "an absolute path", "recordings, calibrations and baselines"),
    )
    runtime_directory: Path = field(
        default_factory=lambda: runtime_directory(os.environ),
        metadata=_meaning(
            _directory, "an absolute path", "where a live recording announces itself"
        ),
    )
    watched_pids: Callable[[], Iterable[int]] = _no_pids
    trace: TraceRequest | None = None


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
