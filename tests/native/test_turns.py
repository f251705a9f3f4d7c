"""When gnomon-pm samples: its own arithmetic, compiled, against looking at each millisecond."""

import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native/gnomon_pm"
UNTIL_MS = 40
# Prints "is on, ms to the next edge, which of three sets" for each of so many ms of Unix time.
PROGRAM = """
#include <cstdio>
#include <cstdlib>
#include "turns.h"
int main(int, char** words) {
    const gnomon::Turns turns{std::atoll(words[1]), std::atoll(words[2])};
    for (int64_t ms = 0; ms < std::atoll(words[3]); ++ms)
        std::printf("%d %lld %zu\\n", turns.on_at(ms),
                    static_cast<long long>(turns.until_edge_ns(ms)), turns.set_at(ms, 3));
}
"""


@pytest.fixture(scope="module")
def turns(tmp_path_factory):
    """Return a function of (on, every): what the helper says of each of the first instants."""
    if shutil.which("g++") is None:
        pytest.skip("this test needs g++")
    program = tmp_path_factory.mktemp("turns") / "turns"
    command = ["g++", "-std=c++17", "-x", "c++", "-", "-I", NATIVE, "-o", program]
    subprocess.run(command, input=PROGRAM, text=True, check=True)

    def ask(*arguments):
        command = [program, *map(str, arguments), str(UNTIL_MS)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        words = map(str.split, said.splitlines())
        return [(on == "1", int(left), int(number)) for on, left, number in words]

    return ask


@pytest.mark.parametrize(("on", "every"), [(1, 5), (3, 7), (4, 5), (1, 2)])
def test_turns_begin_at_multiples_and_each_edge_is_known_beforehand(turns, on, every):
    ons = [
        instant in range(begin, begin + on)
        for instant in range(2 * UNTIL_MS)
        for begin in [instant - instant % every]
    ]

    for instant, (is_on, left, _set) in enumerate(turns(on, every)):
        edge = next(later for later in range(instant, len(ons)) if ons[later] != ons[instant])
        assert (is_on, left) == (ons[instant], edge - instant)


@pytest.mark.parametrize(("on", "every"), [(0, 0), (1000, 0), (5, 5), (5, 4)])
def test_a_turn_that_lasts_as_long_as_its_period_never_ends(turns, on, every):
    assert all(is_on and left > 10**18 for is_on, left, _set in turns(on, every))


@pytest.mark.parametrize(("on", "every"), [(1, 5), (3, 4)])
def test_sets_change_with_the_turns_and_the_first_has_every_other_one(turns, on, every):
    numbers = [number for _is_on, _left, number in turns(on, every)]

    assert numbers == [(0, 1, 0, 2)[instant // every % 4] for instant in range(len(numbers))]


def test_without_turns_a_set_lasts_for_ten_seconds(turns):
    assert {number for _is_on, _left, number in turns(0, 0)} == {0}
