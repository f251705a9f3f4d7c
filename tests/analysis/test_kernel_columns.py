"""What gets a column of its own, and what is pooled."""

import numpy as np

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_columns import columns_of
from gnomon.analysis.kernel_overlap import Operations, stretches

NAMES = ["gemm", "norm", "norm", "norm", "softmax"]


def columns(most, most_names):
    start = np.array([0, 100, 150, 170, 180, 10])
    length = np.array([90, 40, 20, 10, 5, 3])
    group = np.array([0, 1, 2, 3, 4, 4])  # the second softmax runs beside the gemm
    found = stretches(Operations(Intervals(start, start + length), group, 5))
    return found, columns_of(found, NAMES, most, most_names)


def test_every_set_has_a_column_where_there_is_room():
    found, given = columns(10, 10)

    assert len(given) == len(found.sets) == 6
    assert given.time_ns.sum() == found.set_ns.sum()
    assert all(given.is_own(given.alone[group]) for group in range(5))


def test_beyond_the_longest_kernels_of_one_name_are_pooled():
    _, given = columns(2, 1)

    pooled = given.alone[2]
    assert given.groups(pooled) == (2, 3)
    assert given.time_ns[pooled] == 30
    assert not given.is_own(pooled)


def test_the_rest_is_one_column():
    _, given = columns(2, 1)

    rest = given.alone[4]
    assert given.sets[rest] == ((0, 4), (4,))
    assert given.time_ns.sum() == 165
