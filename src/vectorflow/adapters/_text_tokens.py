"""A text measured in tokens or characters, and cuts of it: what the chunkers share."""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vectorflow.adapters._text_cuts import splits_character
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import InvalidInput
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer


class TokenizedText:
    """Positions are characters of the text; cuts are numbers of the units they lie before.

    A unit is a token here.
    """

    unit: ClassVar[str] = "tokens"

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        starts, ends = tokenizer.offsets(text)
        self.text = text
        self.count = len(starts)
        self._starts: NDArray[np.int64] = starts.astype(np.int64)
        self._ends: NDArray[np.int64] = np.maximum.accumulate(ends.astype(np.int64))
        self._tokens = self._starts, self._ends

    @classmethod
    def check(cls, chunking: Chunking) -> None:
        """Refuse sizes that cannot work.

        Raises:
            InvalidInput: The overlap leaves no room for new text.
        """
        if chunking.size < 1:
            raise InvalidInput(
                f"a chunk size of {chunking.size} {cls.unit} holds no text", fix="use 1 or more"
            )
        if not 0 <= chunking.overlap < chunking.size:
            raise InvalidInput(
                f"an overlap of {chunking.overlap} {cls.unit} does not fit chunks of"
                f" {chunking.size}",
                fix=f"use 0 to {chunking.size - 1}, or larger chunks",
            )

    def position(self, cut: int) -> int:
        """Where a cut lies; the outermost ones at the ends of the text."""
        if cut <= 0:
            return 0
        return int(self._starts[cut]) if cut < self.count else len(self.text)

    def end(self, cut: int) -> int:
        """Where all units before a cut have ended."""
        return int(self._ends[cut - 1]) if cut > 0 else 0

    def first(self, position: int) -> int:
        """The first unit with characters from a position on."""
        begins = self._starts.searchsorted(position)
        return int(min(begins, self._ends.searchsorted(position, "right")))

    def after(self, position: int) -> int:
        """The first unit that begins at a position or later."""
        return int(self._starts.searchsorted(position))

    def units(self, begin: int, end: int) -> int:
        """Count the units between two positions, those that lie partly there too."""
        return self.after(end) - self.first(begin)

    def is_whole(self, cut: int) -> bool:
        """Tell whether a cut parts neither units of one character nor what readers see as one."""
        return self._is_between(cut) and not splits_character(self.text, self.position(cut))

    def cut_before(self, cut: int, floor: int) -> int:
        """Give the last whole cut up to `cut` and above `floor`.

        Where there is none it parts accents from their letter; where that is not enough, because
        one character has more units than there is room for, it is the first cut after it.
        """
        if cut >= self.count:
            return self.count
        down = range(cut, floor, -1)
        whole = next(filter(self.is_whole, down), None)
        if whole is not None:
            return whole
        anywhere = chain(down, range(cut + 1, self.count))
        return next(filter(self._is_between, anywhere), self.count)

    def spans(self, chunks: Iterable[tuple[int, int]]) -> Spans:
        """Trim white space, drop what then lies within a neighbour, and count tokens."""
        bounds: list[tuple[int, int]] = []
        for begin, end in chunks:
            span = self._trim(begin, end)
            if span is None or (bounds and span[1] <= bounds[-1][1]):
                continue
            if bounds and span[0] == bounds[-1][0]:
                bounds.pop()
            bounds.append(span)
        kept = np.array(bounds, dtype=np.int64).reshape(-1, 2)
        starts, stops = kept[:, 0], kept[:, 1]
        begun, ended = self._tokens
        first = np.minimum(begun.searchsorted(starts), ended.searchsorted(starts, "right"))
        tokens = begun.searchsorted(stops) - first
        return Spans(starts, stops, tokens.astype(np.int32))

    def _trim(self, begin: int, end: int) -> tuple[int, int] | None:
        inner = self.text[begin:end].lstrip()
        if not inner:
            return None
        begin = end - len(inner)
        return begin, begin + len(inner.rstrip())

    def _is_between(self, cut: int) -> bool:
        start = self._starts[cut]
        return bool(start > self._starts[cut - 1] and start >= self._ends[cut - 1])


class CharacterText(TokenizedText):
    """A unit is a character; chunks have tokens all the same."""

    unit: ClassVar[str] = "characters"

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        super().__init__(text, tokenizer)
        self.count = len(text)
        self._starts = np.arange(len(text), dtype=np.int64)
        self._ends = self._starts + 1


def windows(
    text: TokenizedText, chunking: Chunking, begin: int, end: int
) -> Iterator[tuple[int, int]]:
    """Cut a stretch every `size` units; a window begins with the last `overlap` of the one before.

    A window is shorter where it would part a character.
    """
    first, last = text.first(begin), text.after(end)
    cut = min(last, text.cut_before(first + chunking.size, first))
    yield begin, end if cut == last else text.position(cut)
    while cut < last:
        first, cut = _next(text, chunking, first, cut)
        cut = min(last, cut)
        yield text.position(first), end if cut == last else text.position(cut)


def stretches(text: str, places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Part a text at some places, without the white space at the end of each stretch."""
    whole = (at for at in places if not splits_character(text, at))
    for begin, end in pairwise(sorted({0, *whole, len(text)})):
        if visible := text[begin:end].rstrip():
            yield begin, begin + len(visible)


def _next(text: TokenizedText, chunking: Chunking, begin: int, end: int) -> tuple[int, int]:
    if end - chunking.overlap > begin:
        again = text.cut_before(end - chunking.overlap, begin)
        further = text.cut_before(again + chunking.size, again)
        if further > end:
            return again, further
    return end, text.cut_before(end + chunking.size, end)
