"""What bounds a GPU, on phases whose nature is known because the program was written to have it.

The numbers are means measured on an H200 (driver 580): GPM counters at 10 Hz.
"""

import pytest

from gnomon.analysis.bounds import THRESHOLDS, BoundEvidence, bound_by
from gnomon.analysis.ledger import ComputeMeans, compute_ledger
from gnomon.enums import BoundBy, Pipe

TENSOR_MHZ = 1830
SIMT_MHZ = 1980


def evidence(
    engine,
    sm,
    active,
    dram,
    *,
    clock=1980,
    pipe=Pipe.TENSOR,
    copying=0.0,
    gaps=1.0,
    nvlink=None,
    over_nvlink=False,
):
    reference = TENSOR_MHZ if pipe is Pipe.TENSOR else SIMT_MHZ
    means = ComputeMeans(copying, engine, engine - sm, pipe, active, active * clock / reference)
    return BoundEvidence(compute_ledger(means), active, engine, dram, nvlink, gaps, over_nvlink)


@pytest.mark.parametrize(
    ("name", "expected", "case"),
    [
        ("decode b1", BoundBy.HOST, evidence(10.1, 4.0, 0.14, 3.7)),
        ("decode b32", BoundBy.HOST, evidence(15.5, 8.2, 0.73, 6.4)),
        ("decode b512", BoundBy.HOST, evidence(37.7, 32.7, 4.9, 29.5)),
        ("prefill 1x512", BoundBy.HOST, evidence(67.1, 46.7, 28.65, 16.6)),
        ("prefill 1x2048", BoundBy.COMPUTE, evidence(95.4, 85.4, 56.68, 24.2, clock=1540)),
        ("prefill 8x2048", BoundBy.COMPUTE, evidence(99.6, 97.3, 65.89, 26.6, clock=1390)),
        ("LoRA 1x512", BoundBy.HOST, evidence(32.1, 20.1, 8.34, 7.1)),
        ("LoRA 8x1024", BoundBy.COMPUTE, evidence(99.5, 94.9, 45.74, 35.9, clock=1520)),
        ("GEMM 8192^3", BoundBy.CLOCK, evidence(99.8, 96.0, 93.1, 17.0, clock=1346)),
        ("copy", BoundBy.MEMORY, evidence(99.9, 98.9, 0.0, 88.4)),
        ("GEMV", BoundBy.MEMORY, evidence(99.0, 97.0, 0.0, 78.7, pipe=Pipe.FP32)),
        ("one-thread loop", BoundBy.LATENCY, evidence(100.0, 0.76, 0.0, 0.0, pipe=Pipe.FP32)),
        ("fp32 SIMT", BoundBy.COMPUTE, evidence(99.9, 98.0, 76.5, 10.0, pipe=Pipe.FP32)),
        ("pinned H2D", BoundBy.COPY, evidence(0.0, 0.0, 0.0, 1.0, copying=99.0)),
        ("idle", BoundBy.IDLE, evidence(0.0, 0.0, 0.0, 0.0, gaps=0.0)),
        ("bursts with long rests", BoundBy.IDLE, evidence(20.0, 18.0, 5.0, 5.0, gaps=0.1)),
        ("NCCL", BoundBy.COMMUNICATION, evidence(90.0, 30.0, 0.1, 10.0, nvlink=70.0)),
    ],
)
def test_phases_of_known_nature(name, expected, case):
    assert bound_by(case) is expected, name


def test_every_threshold_says_where_it_comes_from():
    for name, threshold in THRESHOLDS.items():
        assert len(threshold.derivation) > 30, name
        assert threshold.unit, name
