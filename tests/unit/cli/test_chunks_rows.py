from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.chunked import reading, sections, windows
from vectorflow.cli.chunks_rows import Segment, Side, rows
from vectorflow.service.chunks import ChunkedSection
from vectorflow.service.extract import Cutters
from vectorflow.testing.chunkers import texts


def found(text: str, *ways: Cutters) -> ChunkedSection:
    [one] = reading(sections(text), *ways).sections()
    return one


def side(text: str, way: Cutters, row: int) -> Side:
    return list(rows(found(text, way)))[row][0]


ways = st.tuples(st.integers(1, 9), st.integers(0, 8)).map(
    lambda sizes: windows(sizes[0], min(sizes[1], sizes[0] - 1))
)


@settings(deadline=None)
@given(text=texts(), first=ways, second=ways)
def test_rows_hold_all_text_on_both_sides_and_every_chunk_whole(
    text: str, first: Cutters, second: Cutters
) -> None:
    one = found(f"a {text}", first, second)

    parted = list(rows(one))

    for number, chunks in enumerate(one.chunks):
        column = [row[number] for row in parted]
        segments = [segment for part in column for segment in part.segments]
        assert "".join(segment.text for segment in segments) == one.section.text
        assert [part.chunk for part in column if part.chunk] == chunks
        for chunk in chunks:
            held = "".join(one.text for one in segments if chunk.position in one.chunks)
            assert held == one.section.text[chunk.start : chunk.end]
        begun = [segment.begins for segment in segments if segment.begins is not None]
        assert begun == [chunk.position for chunk in chunks if chunk.overlap]
        assert all(not segment.text.strip() for segment in segments if segment.hidden)
    for left, right in parted:
        assert _text(left) == _text(right)


def _text(part: Side) -> str:
    return "".join(segment.text for segment in part.segments)


def test_an_overlap_stands_in_the_row_of_the_chunk_before() -> None:
    before = side("one two three four five", windows(3, 1), 0)

    assert before.segments == [
        Segment("one two ", range(1)),
        Segment("three", range(2), begins=1),
    ]
    after = side("one two three four five", windows(3, 1), 1)
    assert after.segments == [
        Segment(" ", range(1, 2), hidden=True),
        Segment("four five", range(1, 2)),
    ]
    assert after.chunk is not None
    assert (after.chunk.position, after.chunk.text) == (1, "three four five")


def test_an_overlap_over_more_than_half_is_held_by_three() -> None:
    held = [
        segment.chunks
        for row in rows(found("1 2 3 4 5 6", windows(3, 2)))
        for segment in row[0].segments
        if segment.text.strip()
    ]

    assert range(3) in held


def test_line_ends_between_rows_are_hidden_and_an_indent_is_not() -> None:
    text = "one two\n\n  three four"

    assert side(text, windows(2), 1).segments == [
        Segment("\n\n", range(1, 1), hidden=True),
        Segment("  ", range(1, 1)),
        Segment("three four", range(1, 2)),
    ]


def test_a_side_that_does_not_cut_goes_on_in_the_next_row() -> None:
    parted = list(rows(found("one two three four", windows(4), windows(2))))

    assert [left.chunk is None for left, _ in parted] == [False, True]
    assert all(right.chunk is not None for _, right in parted)


def test_white_space_alone_makes_no_row() -> None:
    one = next(reading(sections(" \n ", "x"), windows(2)).sections())

    assert list(rows(one)) == []
