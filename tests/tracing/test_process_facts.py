"""Ranks and GPUs of processes, from their environment."""

import os

import pytest

from gnomon.proc.identity import process_id
from gnomon.tracing.process_facts import UNKNOWN, ProcessReader, visible_gpu

ONE, TWO = ["GPU-aaaa-1"], ["GPU-aaaa-1", "GPU-abbb-2"]


@pytest.mark.parametrize(
    ("environment", "gpus", "expected"),
    [
        ({}, ONE, ("GPU-aaaa-1", None)),
        ({}, TWO, (None, None)),
        ({}, [], (None, None)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ONE, (None, None)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ONE, ("GPU-aaaa-1", None)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ONE, (None, None)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, TWO, (None, None)),
        (
            {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            TWO,
            ("GPU-abbb-2", None),
        ),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, TWO, (None, None)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-ab"}, TWO, ("GPU-abbb-2", None)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a"}, TWO, (None, None)),
        ({"CUDA_VISIBLE_DEVICES": "MIG-77"}, TWO, (None, "MIG-77")),
    ],
)
def test_a_gpu_is_known_only_where_no_other_is_possible(environment, gpus, expected):
    assert visible_gpu(environment, gpus) == expected


def process(root, pid, environment):
    stat = "4242 (py) S 1 " + " ".join(["0"] * 50)
    folder = root / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(stat)
    (folder / "environ").write_text("\0".join(environment))
    (folder / "cgroup").write_text(f"0::/docker/{'ab' * 32}\n")


def test_ranks_are_numbers_or_not_known(tmp_path):
    process(tmp_path, 1, ["RANK=3", "LOCAL_RANK=x", "WORLD_SIZE=99999999999", "X"])
    facts = ProcessReader(tmp_path).read(1)

    assert (facts.rank, facts.local_rank, facts.world_size) == (3, None, None)
    assert (facts.container_id, facts.cgroup_path) == ("ab" * 32, f"/docker/{'ab' * 32}")
    assert facts.name == "py"


def test_a_process_that_is_gone_is_not_known(tmp_path):
    assert ProcessReader(tmp_path).read(1) == UNKNOWN


def test_it_is_called_as_other_tables_call_it():
    assert ProcessReader().read(os.getpid()).process_id == process_id(os.getpid())
