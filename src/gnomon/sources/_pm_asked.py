"""What is asked of ``gnomon-pm``: how often, how long, how fine, and what."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.configuration import Settings
from gnomon.enums import Counters, CounterSet
from gnomon.sources._pm_machine import Machine

# 0.9 % of a core on an H200; 1 ms, which sees copies between kernels, takes 3 to 6 %
# (docs/measurements/pm_sampling.md).
DEFAULT_INTERVAL_US = 10_000
DEFAULT_FINE_INTERVAL_US = 1_000
DEFAULT_PERIOD_NS = 500_000_000
# The pipe holds 1 MiB of samples that are told one by one, 0.3 s of those of 20 us.
FINE_PERIOD_NS = 100_000_000
# A decode costs 1 ms whatever it finds, and the hardware buffer holds some hundred samples.
SAMPLES_A_DECODE = 100
SHORTEST_FINE_DECODE_MS = 20
# A sample took up to 11 KB of the hardware buffer on an H200. What a second brings shall fit,
# within limits: the buffer lies in the host's memory.
SAMPLE_BYTES = 11_000
BUFFER_MIB = (32, 512)


@dataclass(frozen=True, slots=True)
class Asked:
    """Samples of ``interval_us``, for ``on_s`` from each multiple of ``every_s`` in Unix time on.

    That never ends where ``every_s`` is 0 or no longer than ``on_s``, nor, with
    ``turns_need_gpm``, where a GPU has no other counters. ``fine``: every sample is told. Several
    ``sets`` take turns, the first every other one.
    """

    interval_us: int = DEFAULT_INTERVAL_US
    on_s: float = 0.0
    every_s: float = 0.0
    turns_need_gpm: bool = False
    fine: bool = False
    sets: tuple[CounterSet, ...] = (CounterSet.THROUGHPUT,)

    @property
    def period_ns(self) -> int:
        """How often what is told should be read."""
        return FINE_PERIOD_NS if self.fine else DEFAULT_PERIOD_NS

    def turns(self, machine: Machine | None) -> tuple[float, float]:
        """Return how long a turn lasts, and from one to the next (0: they never end)."""
        lone = self.turns_need_gpm and machine is not None and not machine.has_gpm
        return self.on_s, 0.0 if lone or self.every_s <= self.on_s else self.every_s

    def command(self, machine: Machine, period_ns: int) -> list[str]:
        """Return the command that does it, but for the pipe it writes to."""
        on_s, every_s = self.turns(machine)
        options = {
            "libcupti": machine.library.path,
            "interval-us": self.interval_us,
            "decode-ms": self._decode_ms(period_ns),
            "hardware-buffer-mib": self._buffer_mib(),
            "fine": int(self.fine),
            "on-ms": round(on_s * 1000),
            "every-ms": round(every_s * 1000),
        }
        words = (str(word) for key, value in options.items() for word in (f"--{key}", value))
        return [str(machine.helper), *words]

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the interval chosen."""
        usual_us = DEFAULT_FINE_INTERVAL_US if self.fine else DEFAULT_INTERVAL_US
        if self.interval_us >= usual_us:
            return ()
        warning = (
            f"pm: samples of {self.interval_us / 1000:g} ms cost several times the CPU of the "
            f"usual {usual_us / 1000:g} ms (docs/measurements/pm_sampling.md)"
        )
        return (warning,)

    def _decode_ms(self, period_ns: int) -> int:
        at_once_ms = self.interval_us * SAMPLES_A_DECODE // 1000
        least_ms = SHORTEST_FINE_DECODE_MS if self.fine else 1
        return max(least_ms, min(period_ns // 10**6, at_once_ms))

    def _buffer_mib(self) -> int:
        least, most = BUFFER_MIB
        a_second = SAMPLE_BYTES * 10**6 // self.interval_us >> 20
        return min(most, max(least, a_second)) if self.fine else least


def asked(settings: Settings) -> Asked:
    """Return what the settings ask for."""
    fine = settings.pm_samples
    usual_us = DEFAULT_FINE_INTERVAL_US if fine else DEFAULT_INTERVAL_US
    interval_s = settings.pm_interval_s
    return Asked(
        interval_us=usual_us if interval_s is None else round(interval_s * 1e6),
        on_s=settings.pm_on_s,
        every_s=0.0 if settings.counters is Counters.CUPTI else settings.pm_every_s,
        turns_need_gpm=True,
        fine=fine,
        sets=settings.pm_counter_sets if fine else (CounterSet.THROUGHPUT,),
    )
