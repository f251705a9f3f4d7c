"""What a program that we start may do, on the running kernel."""

import os
import re
import shutil
import subprocess
import sys

import pytest

BPF_AND_PERFMON = (1 << 39) | (1 << 38)
PROGRAM = """\
import subprocess
from gnomon.proc.ambient import without_ambient_capabilities
show = ["grep", "CapAmb", "/proc/self/status"]
subprocess.run(show, check=True)
with without_ambient_capabilities():
    subprocess.run(show, check=True)
subprocess.run(show, check=True)
"""


def test_programs_started_meanwhile_have_no_ambient_capabilities_and_later_ones_do():
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to hand capabilities over")
    held = "+bpf,+perfmon"
    done = subprocess.run(
        ["setpriv", "--inh-caps", held, "--ambient-caps", held, sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    )

    found = [int(each, 16) for each in re.findall(r"CapAmb:\s*(\w+)", done.stdout)]
    assert [one & BPF_AND_PERFMON for one in found] == [BPF_AND_PERFMON, 0, BPF_AND_PERFMON]
