import json

from gnomon.cli.commands.import_ import gpm_csv
from gnomon.hardware import sku_facts

from .conftest import MEASURED

INGERO = MEASURED.parent / "ingero"


def import_csv(gnomon, file, output, *options):
    return gnomon("import", "gpm-csv", file, "--gpu", "H200-SXM-141GB", "-o", output, *options)


def test_the_gpus_of_the_examples_are_in_the_table():
    for line, _ in gpm_csv.examples:
        words = line.split()
        assert sku_facts(words[words.index("--gpu") + 1])["name"]


def test_the_measured_run(gnomon, tmp_path):
    output = tmp_path / "run"
    done = import_csv(gnomon, MEASURED / "gpm.csv", output, "--phases", MEASURED / "phases.jsonl")

    assert done.returncode == 0, done.stderr
    assert "1,073 intervals and 9 phases of NVIDIA H200, 0 lines skipped" in done.stdout
    assert done.stderr == ""
    query = "SELECT name FROM phases WHERE edge = 'end' LIMIT 1"
    assert "decode_b1_c512" in gnomon("query", output, query).stdout


def test_bad_lines_are_named_counted_and_recorded(gnomon, tmp_path):
    lines = (MEASURED / "gpm.csv").read_text().splitlines(keepends=True)
    lines[10] = "garbage\n"
    lines[20] = lines[20].replace(",", ";")
    file = tmp_path / "damaged.csv"
    file.write_text("".join(lines))

    done = import_csv(gnomon, file, tmp_path / "run", "--json")
    result = json.loads(done.stdout)

    assert done.returncode == 0
    assert result["intervals"] == 1071
    assert [bad["line"] for bad in result["bad_lines"]] == [11, 21]
    lost = gnomon("query", tmp_path / "run", 'SELECT "rows", reason FROM losses', "--json")
    assert json.loads(lost.stdout) == [{"rows": 2, "reason": "unreadable"}]
    summary = json.loads(gnomon("summary", tmp_path / "run", "--json").stdout)["gpus"][0]
    assert summary["losses"]["samples_lost"] == 2


def test_bad_lines_in_words(gnomon, tmp_path):
    file = tmp_path / "damaged.csv"
    file.write_text("t_unix,dt_s,smi_gpu\n" + "x\n" * 7 + "100,1,50\n")

    done = import_csv(gnomon, file, tmp_path / "run")

    assert done.returncode == 0
    assert "damaged.csv line 2: 1 fields where the header has 3" in done.stderr
    assert "and 2 more" in done.stderr
    assert "7 lines skipped" in done.stdout


def test_a_file_of_another_kind_leaves_nothing_behind(gnomon, tmp_path):
    file = tmp_path / "other.csv"
    for content in ("a,b\n1,2\n", "", "t_unix,dt_s,smi_gpu\n", "t_unix,dt_s,smi_gpu\nx,y,z\n"):
        file.write_text(content)
        done = import_csv(gnomon, file, tmp_path / "run")

        assert done.returncode == 1
        assert done.stderr.startswith("gnomon: ")
        assert not (tmp_path / "run").exists()


def test_an_existing_recording_is_not_mixed_with_it(gnomon, tmp_path):
    (tmp_path / "file").write_text("")

    done = import_csv(gnomon, MEASURED / "gpm.csv", tmp_path)

    assert done.returncode == 1
    assert "is not empty" in done.stderr


def test_an_unknown_gpu(gnomon, tmp_path):
    done = gnomon(
        "import", "gpm-csv", MEASURED / "gpm.csv", "--gpu", "H2000", "-o", tmp_path / "run"
    )

    assert done.returncode == 1
    assert "H2000" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_such_file(gnomon, tmp_path):
    assert import_csv(gnomon, tmp_path / "nothing.csv", tmp_path / "run").returncode == 2


def test_a_recording_of_ingero(gnomon, tmp_path):
    output = tmp_path / "run"
    done = gnomon("import", "ingero", INGERO / "sample-gpu-node-02.db", "-o", output)

    assert done.returncode == 0, done.stderr
    assert "138 host_calls" in done.stdout
    assert "left out: 353 pruned" in done.stdout
    assert "the recorder itself made 33 block_write" in done.stderr
    query = "SELECT count(*) AS calls FROM host_calls WHERE operation = 'cuMemAlloc'"
    assert json.loads(gnomon("query", output, query, "--json").stdout) == [{"calls": 40}]


def test_a_recording_of_ingero_as_json(gnomon, tmp_path):
    file = INGERO / "sample-gpu-node-01.db"
    done = gnomon("import", "ingero", file, "-o", tmp_path / "run", "--json")

    result = json.loads(done.stdout)
    assert result["format_version"] == "0.9"
    assert result["rows"]["off_cpu"] == 99
    assert result["left_out"] == {"pruned": 3537}
    assert len(result["warnings"]) == 2


def test_what_is_no_recording_of_ingero_leaves_nothing_behind(gnomon, tmp_path):
    done = gnomon("import", "ingero", MEASURED / "gpm.csv", "-o", tmp_path / "run")

    assert done.returncode == 1
    assert "gpm.csv: not an Ingero recording" in done.stderr
    assert "gnomon import gpm-csv" in done.stderr
    assert not (tmp_path / "run").exists()
