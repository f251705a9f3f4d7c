"""The arithmetic, and whether what is measured is what is said: 23 calls are 23 records."""

import os
import shutil
import time
from contextlib import nullcontext

import pytest
from benchmarks.paired_ratios import quartiles
from benchmarks.plain_tracer import PlainTracer
from benchmarks.trace_cost import BARE, BARE_NESTED, PLAIN, WATCHED, Variant, costs, variants
from benchmarks.traced_target import (
    WARM_UP_CALLS,
    Kernel,
    Spent,
    Target,
    compile_target,
    functions_of,
)

from benchmarks import trace_drain
from gnomon.tracing import operations
from gnomon.tracing.elf import X86_64
from gnomon.tracing.entry_points import is_emulated
from tests.tracing.programs.tracer import NEEDS_PROGRAMS


def test_costs_are_taken_round_by_round():
    drift = [1.0, 2.0, 3.0]
    wanted = {name: Variant("driver", nullcontext) for name in (BARE, WATCHED, PLAIN)}
    wanted[BARE_NESTED] = Variant("runtime", nullcontext)
    base = {BARE: 2.0, BARE_NESTED: 4.0, WATCHED: 802.0, PLAIN: 1604.0}
    spent = {name: [Spent(base[name] * by, base[name]) for by in drift] for name in wanted}

    of = {one.variant: one for one in costs(spent, wanted)}

    assert of[WATCHED].added_ns == (1600.0, 1200.0, 2000.0)
    assert of[WATCHED].added_cpu_ns == (800.0, 800.0, 800.0)
    assert of[PLAIN].times_gnomon == (2.0, 2.0, 2.0)
    assert of[PLAIN].times_bare == (802.0, 802.0, 802.0)
    assert of[BARE_NESTED].added_ns == (0.0, 0.0, 0.0)


def test_quartiles_are_those_of_the_definition():
    assert quartiles([5, 1, 4, 2, 3]) == (3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        quartiles([])


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compile_target(tmp_path_factory.mktemp("target"))


class TestOnThisKernel:
    pytestmark = NEEDS_PROGRAMS

    @pytest.fixture
    def kernel(self, program):
        with Kernel(program) as kernel:
            yield kernel

    @pytest.fixture
    def target(self, program, kernel):
        with Target(program, max(os.sched_getaffinity(0))) as target:
            kernel.mark([target.pid])
            yield target

    @pytest.mark.parametrize(
        ("called", "probed", "counted"),
        [
            ("driver", ["driver"], {"cuLaunchKernel"}),
            ("runtime", ["driver"], {"cuLaunchKernel"}),
            # The call inside is part of the one around it.
            ("runtime", ["runtime", "driver"], {"cudaLaunchKernel"}),
        ],
    )
    def test_every_call_of_a_variant_is_traced_once(self, kernel, target, called, probed, counted):
        with kernel.probing(*probed):
            spent = target.call(called, 23)

        cells = kernel.slots.read().cells
        names = {operations.OPERATIONS[number].name for number in cells["operation"]}
        assert names == counted
        assert cells["calls"].tolist() == [WARM_UP_CALLS + 23]
        assert spent.wall_ns > 0 < spent.cpu_ns
        assert kernel.losses() == {}

    def test_the_functions_begin_as_those_of_cuda(self, program):
        functions = functions_of(program)
        code = program.read_bytes()

        assert sorted(functions) == ["driver", "runtime"]
        for one in functions.values():
            assert is_emulated(X86_64, code[one.offset : one.offset + 16])

    def test_a_flood_adds_up(self, kernel, target):
        kernel.keep(every_call=True)
        with kernel.probing("driver"):
            found = trace_drain.flood(kernel, [target], seconds=0.05)

        assert found.calls == 50_000 + WARM_UP_CALLS
        assert found.adds_up

    def test_every_variant_can_be_attached_and_leaves_nothing(self, program, kernel, target):
        for variant in variants(program, kernel, None).values():
            with variant.attach():
                target.call(variant.function, 23)
        before = int(kernel.slots.read().cells["calls"].sum())
        target.call("runtime", 23)

        assert int(kernel.slots.read().cells["calls"].sum()) == before

    @pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang")
    def test_the_plain_tracer_gets_every_event(self, program, target, tmp_path):
        with PlainTracer(program, tmp_path) as plain, plain.probing("driver"):
            target.call("driver", 23)
            deadline_s = time.monotonic() + 10
            while plain.reader.events < WARM_UP_CALLS + 23 and time.monotonic() < deadline_s:
                time.sleep(0.01)

            ((tid, operation),) = plain.reader.total_ns
            assert plain.reader.events == WARM_UP_CALLS + 23
            assert (tid, operation) == (target.pid, operations.numbers()["cuLaunchKernel"])
            assert plain.lost() == 0
