"""Our limits are ours: a workload never sees them, and a user's choice stands."""

import subprocess
import sys

import pytest

from gnomon.cli.footprint import ARROW_POOL, LINEAR_ALGEBRA_THREADS


@pytest.mark.parametrize(
    ("variable", "chosen"),
    [
        (LINEAR_ALGEBRA_THREADS, None),
        (LINEAR_ALGEBRA_THREADS, "7"),
        (ARROW_POOL, None),
        (ARROW_POOL, "mimalloc"),
    ],
)
def test_a_workload_has_what_the_user_chose(environment, tmp_path, variable, chosen):
    environment = {name: value for name, value in environment.items() if name != variable}
    if chosen is not None:
        environment[variable] = chosen
    recorder = [sys.executable, "-m", "gnomon", "record", "-o", tmp_path / "run", "--"]
    workload = f"import os; print('seen', os.environ.get({variable!r}, 'unset'))"

    done = subprocess.run(
        [*recorder, sys.executable, "-c", workload],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"seen {chosen or 'unset'}" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["record", "-o", "new", "--duration", "1s"],
        ["top", "--once"],
        ["summary", "h200"],
        ["demo", "--headless"],
        ["query", "h200", "SELECT count(*) FROM gpu_counters"],
    ],
)
def test_pandas_is_never_loaded(environment, h200_recording, tmp_path, command):
    """Arrow would, wherever it is installed, and triple what a recorder takes."""
    seen = tmp_path / "seen"
    (tmp_path / "pandas.py").write_text(f"open({str(seen)!r}, 'w').close()\nraise ImportError\n")
    (tmp_path / "h200").symlink_to(h200_recording)
    environment["PYTHONPATH"] = f"{tmp_path}:{environment.get('PYTHONPATH', '')}"

    subprocess.run(
        [sys.executable, "-m", "gnomon", *command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert not seen.exists()
