"""A ceiling whose operators take other times: the same work, run in another way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.operators import Kind
from gnomon.performance_model.phases import Prefill
from gnomon.performance_model.roofline import Timed
from gnomon.performance_model.totals import sum_up

EAGER_LAUNCH_S = 7e-6
"""What Python and the driver take to launch a kernel: 5 to 10 us, against 2 in a CUDA graph."""


def retimed(answer: Ceiling, operators: Iterable[Timed]) -> Ceiling:
    """Return the ceiling with these operators in the place of its own.

    The pipeline's waiting grows with the work, and so does the time per token; the time to the
    first token follows where the step is a prefill.
    """
    timed = tuple(operators)
    totals = sum_up(timed)
    serial_s = answer.totals.serial_s
    stretch = (serial_s + answer.bubble_s) / serial_s
    exposed_s = totals.exposed_s(stretch)
    time_s = totals.serial_s * stretch + exposed_s
    ratio = time_s / answer.time_s
    return replace(
        answer,
        totals=totals,
        operators=timed,
        time_s=time_s,
        roofline_time_s=totals.ideal_s(stretch),
        bubble_s=totals.serial_s * (stretch - 1),
        exposed_s=exposed_s,
        tpot_s=None if answer.tpot_s is None else answer.tpot_s * ratio,
        ttft_s=time_s if answer.phase == Prefill.name else answer.ttft_s,
    )


def launched_eagerly(timed: Timed) -> Timed:
    """Return an operator whose kernels wait for Python where they are shorter than a launch.

    Launches run ahead of the GPU, so that only a kernel shorter than its launch waits:
    max(launch, kernel). Collectives are launched alike.
    """
    waits_s = timed.operator.count * EAGER_LAUNCH_S - timed.time_s
    if waits_s <= 0:
        return timed
    if timed.operator.kind is Kind.COLLECTIVE:
        return timed._replace(time_s=timed.time_s + waits_s, wire_s=timed.wire_s + waits_s)
    return timed._replace(time_s=timed.time_s + waits_s, launch_s=timed.launch_s + waits_s)
