from dataclasses import replace

import pytest

from gnomon._errors import CommandError
from gnomon.cli import opening
from gnomon.cli.quantities import parse_moment
from gnomon.recording.base import Meta

from . import summaries as s

BOUNDS = (100 * 10**9, 200 * 10**9)


def resolve(since, until):
    def moment(text):
        return None if text is None else parse_moment(text)

    return opening.resolve_range(BOUNDS, moment(since), moment(until))


@pytest.mark.parametrize(
    ("since", "until", "expected_s"),
    [
        (None, None, (100, 200)),
        ("10s", None, (110, 200)),
        (None, "-30s", (100, 170)),
        ("-60s", "-30s", (140, 170)),
        ("110000000000", "1970-01-01T00:02:00Z", (110, 120)),
        ("0", None, (0, 200)),  # from before the start: what there is
    ],
)
def test_range(since, until, expected_s):
    assert resolve(since, until) == (expected_s[0] * 10**9, expected_s[1] * 10**9)


@pytest.mark.parametrize(
    ("since", "until"), [("20s", "10s"), ("10s", "10s"), ("1h", "2h"), ("1", "100"), ("-0s", None)]
)
def test_an_empty_range_is_a_usage_error(since, until):
    with pytest.raises(CommandError) as error:
        resolve(since, until)

    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("20s", "10s", "--from is not before --to"),
        (
            "1970-01-02",
            None,
            "nothing from 1970-01-02T00:00:00Z: it lasts from 1970-01-01T00:01:40Z",
        ),
        (None, "5", "nothing to 1970-01-01T00:00:00Z: it"),
        ("1h", "2h", "nothing from 1970-01-01T01:01:40Z to 1970-01-01T02:01:40Z: it"),
        ("9" * 30, None, f"nothing from {'9' * 30}: it"),
    ],
)
def test_an_empty_range_is_told_in_the_terms_it_was_asked_in(since, until, said):
    with pytest.raises(CommandError) as error:
        resolve(since, until)

    assert said in str(error.value)


def test_no_such_directory_says_how_to_make_one(tmp_path):
    with pytest.raises(CommandError, match="gnomon record -o"):
        opening.open_recording(tmp_path / "nothing")


FIRST = s.PREFILL
SECOND = replace(s.PREFILL, uuid="GPU-22222222-0000-0000-0000-000000000000")
SLICE = replace(SECOND, mig_uuid="MIG-33333333-0000-0000-0000-000000000000")
META = Meta(1, gpus={FIRST.uuid: {"index": 0}, SECOND.uuid: {"index": 1}})
ALL = [FIRST, SECOND, SLICE]


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (None, ALL),
        ("0", [FIRST]),
        ("1", [SECOND, SLICE]),
        (FIRST.uuid, [FIRST]),
        ("GPU-2222", [SECOND, SLICE]),
        ("MIG-3", [SLICE]),
    ],
)
def test_only_gpu(gpu, expected):
    assert opening.only_gpu(ALL, gpu, META) == expected


@pytest.mark.parametrize("gpu", ["7", "GPU-", "GPU-9", "nonsense"])
def test_a_gpu_that_is_not_exactly_one_is_a_usage_error(gpu):
    with pytest.raises(CommandError, match="recorded are: GPU-1") as error:
        opening.only_gpu(ALL, gpu, META)

    assert error.value.exit_code == 2
