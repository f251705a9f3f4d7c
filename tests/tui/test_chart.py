from hypothesis import given
from hypothesis import strategies as st

from gnomon.tui.chart import AXIS_WIDTH, LABEL_WIDTH, Line, Mark, columns_of, draw

values = st.lists(st.one_of(st.none(), st.floats(-50, 500)), max_size=60)
looks = st.sampled_from(["fill", "line", "dots"])


def plot(lines, width=40, height=5, **more):
    """The plot's cells alone, without axis, labels and names."""
    drawn = draw(lines, width, height, **more)
    return [row.plain[AXIS_WIDTH : width - LABEL_WIDTH] for row in drawn[:-1]]


def dots(rows):
    return sum((ord(cell) - 0x2800).bit_count() for row in rows for cell in row if cell > "\u2800")


@given(st.lists(st.tuples(values, looks), max_size=3), st.integers(20, 200), st.integers(2, 30))
def test_a_chart_has_exactly_the_size_asked_for(series, width, height):
    lines = [Line("x", numbers, "#ffffff", look) for numbers, look in series]

    drawn = draw(lines, width, height, [Mark(0.5, "phase")])

    assert len(drawn) == height
    assert {row.cell_len for row in drawn} == {width}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=100), st.integers(1, 200))
def test_columns_keep_every_value_within_the_range_of_the_series(numbers, count):
    columns = columns_of(numbers, count)

    assert len(columns) == count
    assert all(min(numbers) - 1e-9 <= value <= max(numbers) + 1e-9 for value in columns)


def test_columns_are_means_and_gaps_stay_gaps():
    assert columns_of([10.0, 20.0, None, None], 2) == [15.0, None]
    assert columns_of([], 3) == [None, None, None]


def test_a_full_area_fills_every_dot_and_zero_only_the_lowest_row():
    columns = (40 - AXIS_WIDTH - LABEL_WIDTH) * 2

    assert dots(plot([Line("x", [100.0], "", "fill")])) == columns * 16
    assert dots(plot([Line("x", [0.0], "", "fill")])) == columns


def test_what_was_not_measured_leaves_no_dot_and_no_label():
    drawn = draw([Line("busy", [None] * 10, "", "line")], 40, 5)

    assert dots([row.plain for row in drawn]) == 0
    assert "busy" not in "".join(row.plain for row in drawn)


def test_a_line_is_joined_up_and_dots_are_not():
    steep = [0.0, 100.0]

    assert dots(plot([Line("x", steep, "", "line")])) > dots(plot([Line("x", steep, "", "dots")]))


def test_values_are_drawn_against_the_top_of_their_own_line():
    assert plot([Line("x", [350.0], "", top=700.0)]) == plot([Line("x", [50.0], "")])


def test_labels_stand_beside_the_newest_value_and_never_hide_each_other():
    lines = [Line(name, [50.0], "", unit="%") for name in ("one", "two", "three")]

    drawn = "\n".join(row.plain for row in draw(lines, 50, 6))

    assert all(f"{name} 50%" in drawn for name in ("one", "two", "three"))


def test_marks_are_named_as_far_as_there_is_room():
    marks = [Mark(0.0, "decode"), Mark(0.5, "long name"), Mark(0.7, "tiny"), Mark(0.75, "prefill")]

    names = draw([], 60, 4, marks, back="-2 min")[-1].plain

    assert "decode" in names
    assert "long na…" in names
    assert "tiny" not in names
    assert "prefill" in names
    assert "-2 min" not in names
    assert "-2 min" in draw([], 60, 4, marks[1:], back="-2 min")[-1].plain
