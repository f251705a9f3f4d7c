import json

from hypothesis import given
from hypothesis import strategies as st

from gnomon.mcp.reply import LONGEST_TEXT, Answer, said, visible

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@given(st.text())
def test_what_is_not_seen_is_written_out_and_the_rest_stays(text):
    shown = visible(text)

    assert all(letter.isprintable() or letter in "\n\t " or letter.isspace() for letter in shown)
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text


def test_words_of_a_process_are_marked_and_cut():
    assert said(None) is None
    assert said("a\u202eb") == {"from_process": "a\\u{202e}b"}
    assert len(said("x" * 10_000)["from_process"]) < LONGEST_TEXT + 50


@given(st.lists(JSON), st.integers(min_value=200, max_value=2000))
def test_an_answer_is_strict_json_within_its_size_and_says_what_is_missing(items, most_bytes):
    text = Answer({"a": 1}, {"items": items}, advice="ask for less").text(most_bytes)
    found = json.loads(text, parse_constant=lambda word: 1 / 0)

    assert len(text.encode()) < most_bytes + 200
    shown = len(found["items"])
    if shown < len(items):
        expected = {"items": {"shown": shown, "of": len(items)}, "advice": "ask for less"}
        assert found["cut"] == expected
    else:
        assert "cut" not in found


def test_numbers_lose_noise_unless_they_are_evidence():
    row = {"watts": 423.22807281720424, "noise": 2.1e-15, "ns": 1_795_202_080_504_392_123}

    assert json.loads(Answer({}, {"r": [row]}).text())["r"] == [
        {"watts": 423.23, "noise": 0.0, "ns": 1_795_202_080_504_392_123}
    ]
    assert json.loads(Answer({}, {"r": [row]}, is_exact=True).text())["r"] == [row]
