"""Rules of the house that no linter knows; the direction of imports is import-linter's."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "gnomon"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE_LINES = 400
LONGEST_FUNCTION_LINES = 60
# Each takes 50 ms and more to import, so that only what uses them may.
HEAVY = ("duckdb", "numpy", "pyarrow", "pynvml", "textual")
LIGHT_MODULES = (
    "gnomon",
    "gnomon.cli.main",
    "gnomon.enums",
    "gnomon.recording.base",
    "gnomon.sources.base",
    "gnomon.tables",
)


def _id(path):
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_no_file_or_function_outgrows_the_eye(path):
    text = path.read_text()
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert len(text.splitlines()) <= LONGEST_FILE_LINES
    for node in functions:
        assert node.end_lineno - node.lineno < LONGEST_FUNCTION_LINES, node.name


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_light_modules_stay_light(module):
    script = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []


def test_every_source_is_one_file_with_one_test():
    sources = {path.stem for path in (SOURCE / "sources").glob("[a-z]*.py")} - {"base"}
    tests = {path.stem for path in (Path(__file__).parent / "sources").glob("test_*.py")}

    assert {f"test_{name}" for name in sources} <= tests
