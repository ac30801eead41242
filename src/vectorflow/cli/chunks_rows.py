"""A section as rows: each ends where a chunker cuts, so that several stand beside each other."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vectorflow.service.chunks import Chunk, ChunkedSection


class Segment(NamedTuple):
    """Text that the same chunks hold."""

    text: str
    chunks: range
    """Positions of these chunks: none for white space between two, several where they overlap."""
    begins: int | None = None
    """The chunk that begins here within the one before."""
    hidden: bool = False
    """White space at the edge of a row, where a line ends anyway."""


class Side(NamedTuple):
    """A row as one of the chunkers cuts it."""

    chunk: "Chunk | None"
    """The chunk whose own text begins with this row; what it overlaps stands above."""
    segments: list[Segment]


def rows(found: "ChunkedSection") -> Iterator[tuple[Side, ...]]:
    """Part a section where any of the chunkers cuts, a side for each; nothing for white space."""
    text = found.section.text
    columns = [_Column(chunks, found.section.start) for chunks in found.chunks]
    for begin, end in pairwise(_bounds(text, columns)):
        yield tuple(
            Side(column.begun(begin), column.parted(text, begin, end)) for column in columns
        )


class _Column:
    """The chunks of one chunker, in characters of the section."""

    def __init__(self, chunks: Sequence["Chunk"], base: int) -> None:
        self._chunks = chunks
        self._first = chunks[0].position if chunks else 0
        self.starts = [chunk.start - base for chunk in chunks]
        self.ends = [chunk.end - base for chunk in chunks]

    def begun(self, at: int) -> "Chunk | None":
        """Find the chunk whose own text begins where the one before has ended."""
        index = bisect_right(self.ends, at)
        begins = at == 0 or (index > 0 and self.ends[index - 1] == at)
        return self._chunks[index] if begins and index < len(self._chunks) else None

    def parted(self, text: str, begin: int, end: int) -> list[Segment]:
        """Part a row where chunks begin and end."""
        low, high = _edges(text, begin, end)
        inner = [*_within(self.starts, begin, end), *_within(self.ends, begin, end)]
        places = sorted({begin, low, high, end, *inner})
        return [
            Segment(
                text=text[start:stop],
                chunks=self._holding(start, stop),
                begins=self._begins(start),
                hidden=stop <= low or start >= high,
            )
            for start, stop in pairwise(places)
        ]

    def _holding(self, start: int, stop: int) -> range:
        first = bisect_right(self.ends, start)
        last = max(first, bisect_left(self.starts, stop))
        return range(self._first + first, self._first + last)

    def _begins(self, at: int) -> int | None:
        index = bisect_left(self.starts, at)
        inside = 0 < index < len(self.starts) and self.ends[index - 1] > at
        return self._first + index if inside and self.starts[index] == at else None


def _bounds(text: str, columns: Sequence[_Column]) -> list[int]:
    """List where rows begin and end; the white space after the last chunk goes to its row."""
    cuts = sorted({end for column in columns for end in column.ends})
    visible = len(text.rstrip())
    if visible == 0:
        return []
    return [0, *(cut for cut in cuts if cut < visible), len(text)]


def _edges(text: str, begin: int, end: int) -> tuple[int, int]:
    """Tell where what is to be seen of a row begins, with the indent of its line, and ends."""
    row = text[begin:end]
    blank = len(row) - len(row.lstrip())
    line = row.rfind("\n", 0, blank) + 1
    return begin + (line or (blank if begin else 0)), begin + len(row.rstrip())


def _within(places: list[int], begin: int, end: int) -> list[int]:
    return places[bisect_right(places, begin) : bisect_left(places, end)]
