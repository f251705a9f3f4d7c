"""The injected library as a guest: what other programs see of it, and what it takes of theirs."""

import shutil
import subprocess

import pytest

from tests.standins import activity


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shutil.which("nm") is None:
        pytest.skip("symbols are read by nm (binutils)")
    return activity.build(tmp_path_factory.mktemp("inject")).library


def symbols(library, *options):
    answer = subprocess.run(
        ["nm", "-D", *options, library], capture_output=True, text=True, check=True
    )
    return [line.split()[-1].split("@")[0] for line in answer.stdout.splitlines()]


def test_nothing_is_seen_of_it_but_its_entry(library):
    assert symbols(library, "--defined-only") == ["InitializeInjection"]


def test_it_uses_libc_alone(library):
    needed = symbols(library, "--undefined-only")

    assert not [name for name in needed if name.startswith(("_Z", "__gxx", "__cxa_throw", "cupti"))]
    assert not {"printf", "fprintf", "malloc", "abort", "exit"} & set(needed)
