"""The committed reference pages are those that the code would write."""

import importlib.util
from pathlib import Path

import pytest

from gnomon import configuration, hardware, tables

SCRIPT = Path(__file__).parent.parent / "docs" / "generate_reference.py"


@pytest.fixture
def generator():
    spec = importlib.util.spec_from_file_location("generate_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_pages_are_up_to_date(generator, capsys):
    status = generator.main(["--check"])

    assert (status, capsys.readouterr().err) == (0, "")


def test_a_stale_or_missing_page_is_told_by_name_and_written_on_demand(
    generator, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(generator, "DIRECTORY", tmp_path)

    assert generator.main(["--check"]) == 1
    assert "gpus.md" in capsys.readouterr().err
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    (tmp_path / "tables.md").write_text("old")
    assert generator.main(["--check"]) == 1
    assert "tables.md in" in capsys.readouterr().err


def test_pages_hold_every_table_column_gpu_and_setting(generator):
    pages = generator.pages()

    for table in tables.TABLES.values():
        assert f"## {table.name}" in pages["tables.md"]
        assert all(f"| `{name}` |" in pages["tables.md"] for name in table.column_names)
    for spec in hardware.load().values():
        assert f"**{spec.sku}**" in pages["gpus.md"]
        assert all(source.split()[0] in pages["gpus.md"] for source in spec.sources)
    assert "| H200-SXM-141GB | 132 | 1980 | 1830 | 1980 | 1980 | 1980 |" in pages["gpus.md"]
    assert all(f"`{key}`" in pages["configuration.md"] for key in configuration.configurable())


def test_every_row_of_a_page_has_as_many_cells_as_its_head(generator):
    for text in generator.pages().values():
        head = 0
        for line in text.splitlines():
            if line.startswith("|"):
                cells = line.replace("\\|", "").count("|")
                head = head or cells
                assert cells == head, line
            else:
                head = 0
