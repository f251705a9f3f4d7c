"""The loader on the running kernel, with libbpf as the oracle."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon._errors import RefusedError, TracingError
from gnomon.tracing.elf import Elf
from gnomon.tracing.loader import load
from gnomon.tracing.object_file import read_object
from tests.tracing.kernel import (
    Libbpf,
    identity,
    instructions,
    needs_kernel,
    open_descriptors,
    program_exists,
)

pytestmark = needs_kernel
COMMITTED = sorted((Path(gnomon.__file__).parent / "data" / "bpf").glob("*.bpf.o"))
CALLS = 23


def assert_same_as_libbpf(path, kernel_types):
    ours = load(read_object(path), kernel=kernel_types)
    theirs = Libbpf(path, ours.programs)
    our_maps = {name: made.fd for name, made in ours.maps.items()}
    try:
        assert ours.programs
        for name, program in ours.programs.items():
            expected = instructions(theirs.programs[name], theirs.maps)
            assert instructions(program.fd, our_maps) == expected, name
    finally:
        theirs.close()
        ours.close()


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_committed_programs_are_those_that_libbpf_loads(path, kernel_types):
    assert_same_as_libbpf(path, kernel_types)


@pytest.mark.parametrize("name", ["relocations_path", "events_path"])
def test_every_kind_of_relocation_comes_out_as_libbpf_has_it(name, request, kernel_types):
    assert_same_as_libbpf(request.getfixturevalue(name), kernel_types)


def offsets_in(library, *names):
    with library.open("rb") as file:
        found = {one.name: one.file_offset for one in Elf(file, library.name).functions(names)}
    return [found[name] for name in names]


def attach_many(loaded, path, offsets, cookies, pid):
    loaded.attach_uprobes("on_entry", path, offsets, cookies, pid)
    loaded.attach_uprobes("on_return", path, offsets, cookies, pid)


def attach_each(loaded, path, offsets, cookies, pid):
    for offset, cookie in zip(offsets, cookies, strict=True):
        loaded.attach_uprobe("on_entry", path, offset, cookie, pid)
        loaded.attach_uprobe("on_return", path, offset, cookie, pid)


@pytest.mark.parametrize("attach", [attach_many, attach_each])
def test_23_calls_are_counted_as_23_until_the_object_is_closed(
    attach, events, library, kernel_types
):
    path, functions = library
    multi = attach is attach_many
    with load(events, kernel=kernel_types, uprobe_multi=multi) as loaded:
        calls = loaded.maps["calls"].view(np.uint32)
        attach(loaded, path, offsets_in(path, "probed", "other"), [3, 5], os.getpid())
        for number in range(CALLS):
            assert functions.probed(number) == number + 1
        functions.other()
        while_attached = calls.tolist()
    functions.probed(0)

    expected = {3: CALLS, 3 + 8: CALLS, 5: 1, 5 + 8: 1}
    assert while_attached == [expected.get(key, 0) for key in range(16)]
    assert calls.tolist() == while_attached


def test_a_probe_of_one_process_leaves_others_alone(events, library, kernel_types):
    path, functions = library
    child = subprocess.Popen(["sleep", "60"])
    try:
        with load(events, kernel=kernel_types) as loaded:
            attach_many(loaded, path, offsets_in(path, "probed"), [1], child.pid)
            functions.probed(0)

            assert not loaded.maps["calls"].view(np.uint32).any()
    finally:
        child.kill()
        child.wait()


def test_a_link_that_is_closed_counts_no_more(events, library, kernel_types):
    path, functions = library
    with load(events, programs=["on_entry"], kernel=kernel_types) as loaded:
        link = loaded.attach_uprobes("on_entry", path, offsets_in(path, "probed"), [2])
        functions.probed(0)
        link.close()
        link.close()
        functions.probed(0)

        assert loaded.maps["calls"].view(np.uint32)[2] == 1


def test_constants_set_before_loading_are_what_the_program_sees(relocations_path, kernel_types):
    totals = []
    for wanted in (0, 1):
        file = read_object(relocations_path)
        file.set_constant("threshold", 1_000_000_000_007)
        file.set_constant("is_wanted", wanted)
        with load(file, programs=["properties"], kernel=kernel_types) as loaded:
            assert loaded.run("properties") == (42, b"")
            totals.append(int.from_bytes(loaded.maps["totals"].lookup(bytes(4)), "little"))
            assert loaded.maps[".data"].view(np.uint32)[0] == 4
            with pytest.raises(RefusedError, match=r"cannot write to the map .rodata"):
                loaded.maps[".rodata"].update(bytes(4), bytes(file.data[".rodata"]))

    assert totals[1] - totals[0] == 1_000_000_000_007


@pytest.mark.parametrize(
    ("name", "value"), [("threshold", 1 << 64), ("threshold", b"1"), ("counters", 0), ("none", 0)]
)
def test_a_constant_that_is_none_or_does_not_fit_is_refused(name, value, relocations_path):
    with pytest.raises(TracingError, match=name):
        read_object(relocations_path).set_constant(name, value)


def test_a_tracepoint_program_sees_switches(relocations_path, kernel_types):
    with load(read_object(relocations_path), programs=["on_switch"], kernel=kernel_types) as loaded:
        loaded.attach_tracepoint("on_switch")
        time.sleep(0.01)
        counted = loaded.maps["busy"].per_processor((1).to_bytes(4, "little"), np.uint32)

    assert counted.sum() > 0


def test_an_iterator_goes_over_all_there_is(relocations_path, kernel_types):
    file = read_object(relocations_path)
    with load(file, programs=["list_processes"], kernel=kernel_types) as loaded:
        before = open_descriptors()
        processes = np.frombuffer(loaded.iterate("list_processes"), np.int32)

        assert {os.getpid(), os.getppid()} <= set(processes.tolist())
        assert open_descriptors() == before


def test_a_kernel_function_may_be_missing_where_the_program_asks_first(refused_path, kernel_types):
    with load(read_object(refused_path), programs=["asks_first"], kernel=kernel_types) as loaded:
        assert loaded.run("asks_first") == (2, b"")


def test_what_the_verifier_refuses_is_told_in_its_words_and_leaves_nothing(
    refused_path, kernel_types
):
    before = open_descriptors()
    file = read_object(refused_path)
    with pytest.raises(RefusedError, match="invalid mem access") as caught:
        load(file, kernel=kernel_types)

    assert "cannot load the program reads_nothing" in str(caught.value)
    assert caught.value.remedy.startswith("report this text")
    assert open_descriptors() == before


def test_a_shared_map_is_used_in_place_of_an_own_one(events, kernel_types):
    with load(events, programs=["flood"], kernel=kernel_types) as first:
        shared = {"progress": first.maps["progress"]}
        with load(events, programs=["flood"], shared=shared, kernel=kernel_types) as second:
            second.run("flood", bytes(16))
        with pytest.raises(TracingError, match="is not like the one"):
            load(events, shared={"calls": first.maps["progress"]}, kernel=kernel_types)

        assert first.maps["progress"].view(np.dtype("2u8"))[0].tolist() == [512, 0]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda loaded, path: loaded.attach_tracepoint("flood"), "cannot attach to a tracepoint"),
        (lambda loaded, path: loaded.attach_tracepoint("none"), "no program none is loaded"),
        (
            lambda loaded, path: loaded.attach_uprobes("on_entry", path.parent, [0], [0]),
            "cannot attach uprobes",
        ),
        (
            lambda loaded, path: loaded.attach_uprobes("on_entry", path, [1 << 40], [0]),
            "cannot attach uprobes",
        ),
    ],
)
def test_what_cannot_be_attached_is_said_and_leaves_nothing(
    action, said, events, library, kernel_types
):
    with load(events, kernel=kernel_types) as loaded:
        before = open_descriptors()
        with pytest.raises(TracingError, match=said):
            action(loaded, library[0])

        assert open_descriptors() == before


def test_everything_is_closed_after_use(events, relocations_path, library, kernel_types):
    before = open_descriptors()
    with load(events, kernel=kernel_types) as loaded:
        attach_many(loaded, library[0], offsets_in(library[0], "probed"), [1], os.getpid())
        identities = [identity(program.fd) for program in loaded.programs.values()]
    with load(read_object(relocations_path), kernel=kernel_types) as loaded:
        loaded.attach_tracepoint("on_switch")
    loaded.close()

    assert open_descriptors() == before
    assert not any(wait_until_gone(identities))


def wait_until_gone(identities):
    """Which of the programs are there still after a grace period of the kernel."""
    until = time.monotonic() + 30
    while any(alive := [program_exists(one) for one in identities]) and time.monotonic() < until:
        time.sleep(0.05)
    return alive


UNPRIVILEGED = """
import sys
from pathlib import Path
from gnomon._errors import TracingError
from tests.tracing.test_loader import attach_many, offsets_in, load, read_object
object_path, library = map(Path, sys.argv[1:])
try:
    with load(read_object(object_path)) as loaded:
        attach_many(loaded, library, offsets_in(library, "probed"), [1], 0)
        print("attached")
except TracingError as error:
    print(error, error.remedy, sep="; ")
"""


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        ("+bpf,+perfmon", "attached"),
        ("+perfmon", "cannot create the map .*; run as root, or with CAP_BPF"),
    ],
)
def test_two_capabilities_suffice_and_a_missing_one_is_named(
    capabilities, said, events_path, library
):
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to drop privileges")
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        paths = [shutil.copy(path, folder) for path in (events_path, library[0])]
        drop = ["setpriv", "--reuid=65534", "--clear-groups", f"--inh-caps=-all,{capabilities}"]
        done = subprocess.run(
            [
                *drop,
                f"--ambient-caps=-all,{capabilities}",
                sys.executable,
                "-c",
                UNPRIVILEGED,
                *paths,
            ],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            timeout=120,
            check=False,
        )
    finally:
        shutil.rmtree(folder)

    assert re.search(said, done.stdout), done.stderr


TRACER = """
import sys, time
from pathlib import Path
from gnomon.tracing.loader import load
from gnomon.tracing.object_file import read_object
from tests.tracing.kernel import identity
from tests.tracing.test_loader import attach_many, offsets_in
path = Path(sys.argv[2])
with load(read_object(Path(sys.argv[1]))) as loaded:
    attach_many(loaded, path, offsets_in(path, "probed"), [1], 0)
    print(*(identity(program.fd) for program in loaded.programs.values()), flush=True)
    time.sleep(120)
"""


def test_a_tracer_that_is_killed_leaves_no_probe(events_path, library):
    path, functions = library
    tracer = subprocess.Popen(
        [sys.executable, "-c", TRACER, events_path, path],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with tracer.stdout:
        identities = [int(one) for one in tracer.stdout.readline().split()]
        assert [program_exists(one) for one in identities] == [True] * 3
        tracer.send_signal(signal.SIGKILL)
        tracer.wait()

    assert not any(wait_until_gone(identities))
    assert functions.probed(1) == 2
