"""Our limit on numpy's threads is ours: a workload never sees it, and a user's choice stands."""

import subprocess
import sys

import pytest

from gnomon.cli.linear_algebra import VARIABLE

PRINT = f"import os; print('threads', os.environ.get({VARIABLE!r}, 'unset'))"


@pytest.mark.parametrize(("chosen", "seen"), [({}, "unset"), ({VARIABLE: "7"}, "7")])
def test_a_workload_has_the_users_number_of_threads(environment, tmp_path, chosen, seen):
    environment.pop(VARIABLE, None)
    mark = [sys.executable, "-m", "gnomon", "mark", "x", "--recording", str(tmp_path)]

    done = subprocess.run(
        [*mark, "--", sys.executable, "-c", PRINT],
        env=environment | chosen,
        capture_output=True,
        text=True,
        check=False,
    )

    assert f"threads {seen}" in done.stdout
