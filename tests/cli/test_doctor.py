"""`gnomon doctor` against the real library boundary: a program of its own and a compiled NVML."""

import json
import os
import subprocess
import sys

import pytest

from gnomon.cli.commands import doctor
from gnomon.sources.base import Missing
from tests.standins import DEFAULT_UUID, Scenario, library_environment

UUID = DEFAULT_UUID.format(index=0)


def run_doctor(environment, *options):
    return subprocess.run(
        [sys.executable, "-m", "gnomon", "doctor", *options],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )


def report(environment):
    done = run_doctor(environment, "--json")

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture
def machine(nvml_standin, tmp_path):
    """Return a function: (gpus, library) -> Scenario and the environment that sees it."""

    def make(gpus=1, library=nvml_standin):
        scenario = Scenario(tmp_path / "scenario.txt", gpus)
        return scenario, library_environment(library, scenario)

    return make


def missing_of(source):
    return {each["metric"]: each for each in source["missing"]}


def test_no_driver():
    """This test machine has no driver: what is missing is said, the host works, the status is 0."""
    done = run_doctor(os.environ | {"LD_LIBRARY_PATH": "/nowhere"})

    assert done.returncode == 0
    assert "no NVIDIA driver" in done.stdout
    assert "none can be measured here" in done.stdout
    assert "gnomon demo" in done.stdout
    assert "ok  host" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_no_driver_strict():
    done = run_doctor(os.environ | {"LD_LIBRARY_PATH": "/nowhere"}, "--strict")

    assert done.returncode == 1


def test_an_h200(machine):
    _, environment = machine()

    found = report(environment)

    assert found["schema"] == 1
    assert [gpu["value"] for gpu in found["gpus"]] == [f"NVIDIA H200, {UUID}; peaks: table"]
    assert found["sources"]["nvml"]["ready"]
    assert found["sources"]["gpm"]["ready"]
    # An SXM module has no fan: one metric less, and nothing else.
    assert set(missing_of(found["sources"]["nvml"])) == {"fan_pct"}
    facts = {fact["name"]: fact for fact in found["environment"]}
    assert facts["CUDA of the driver"]["value"] == "13.0"


def test_no_gpu_in_the_machine(machine):
    _, environment = machine(gpus=0)

    found = report(environment)

    assert found["gpus"] == []
    assert found["sources"]["host"]["ready"]


def test_an_old_driver_without_gpm(machine, nvml_standin_470):
    _, environment = machine(library=nvml_standin_470)

    found = report(environment)

    assert found["sources"]["nvml"]["ready"]
    assert not found["sources"]["gpm"]["ready"]
    assert "driver" in found["sources"]["gpm"]["reason"] + found["sources"]["gpm"]["remedy"]


def test_a_permission_error_takes_its_own_metrics_only(machine):
    scenario, environment = machine()
    scenario.fail("nvmlDeviceGetEnforcedPowerLimit", 4)

    missing = missing_of(report(environment)["sources"]["nvml"])

    # "power limit" is the watcher of its changes, which asks the same call.
    assert set(missing) == {"fan_pct", "power_limit_watts", "power limit"}
    assert "permit" in missing["power_limit_watts"]["reason"]
    assert missing["power_limit_watts"]["remedy"]


def test_mig(machine):
    scenario, environment = machine()
    scenario.add_mig(0, gpu_instance=1)

    found = report(environment)

    assert "MIG enabled" in found["gpus"][0]["value"]
    assert found["sources"]["nvml"]["ready"]


def test_an_unknown_gpu(machine):
    scenario, environment = machine(gpus=2)
    scenario.text("nvmlDeviceGetName", "NVIDIA Mystery 9000", gpu=1)

    known, unknown = report(environment)["gpus"]

    assert known["ok"]
    assert not unknown["ok"]
    assert "NVIDIA Mystery 9000" in unknown["value"]
    assert "computed" in unknown["value"]
    assert unknown["remedy"]


def test_a_driver_that_hangs(machine):
    """A call that takes 30 s: doctor says so after its own patience, and the rest is told."""
    scenario, environment = machine()
    scenario.delay("nvmlDeviceGetUtilizationRates", 30_000)
    program = (
        "from gnomon.cli import source_loading\n"
        "source_loading.check_all.__defaults__ = (1.0,)\n"
        "from gnomon.cli.main import main\n"
        "main(['doctor', '--json'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=25,  # under the 30 s of the call: it was not waited for
    )

    found = json.loads(done.stdout)

    assert not found["sources"]["nvml"]["ready"]
    assert "did not answer within 1 s" in found["sources"]["nvml"]["reason"]
    assert found["sources"]["host"]["ready"]


def test_a_metric_missing_on_one_gpu_of_two_says_which():
    both = [Missing("fan_pct", "no fan", "", uuid) for uuid in ("GPU-a", "GPU-b")]
    one = Missing("power_watts", "no permission", "ask", "GPU-b")

    grouped = doctor._by_reason([*both, one])

    assert grouped == {
        ("no fan", "", frozenset({"GPU-a", "GPU-b"})): ["fan_pct"],
        ("no permission", "ask", frozenset({"GPU-b"})): ["power_watts"],
    }


def test_text_fits_80_columns(machine):
    _, environment = machine(gpus=2)

    lines = run_doctor(environment).stdout.splitlines()

    assert max(map(len, lines)) <= 80
