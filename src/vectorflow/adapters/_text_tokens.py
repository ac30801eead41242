"""A text measured in tokens or characters, and cuts of it: what the chunkers share."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vectorflow.adapters._text_cuts import splits_character
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import InvalidInput
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer

_SPACES = frozenset({"", " ", "\t", "\n", "\r"})
"""What surely parts words; some tokenizers leave other white space out, and join what is around."""

_WORD = re.compile(r"[^ \t\n\r]++")


class TokenizedText:
    """Positions are characters of the text; cuts are numbers of the units they lie before.

    A unit is a token here.
    """

    unit: ClassVar[str] = "tokens"

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        starts, ends = tokenizer.offsets(text)
        self.text = text
        self._tokenizer = tokenizer
        self._counted: dict[tuple[int, int], int] = {}
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

    def units_of_each(self, bounds: Sequence[tuple[int, int]]) -> list[int]:
        """Count the units of many stretches: the same as `units`, sooner."""
        begins, ends = np.array(bounds, dtype=np.int64).reshape(-1, 2).T
        first = np.minimum(
            self._starts.searchsorted(begins), self._ends.searchsorted(begins, "right")
        )
        counts: list[int] = (self._starts.searchsorted(ends) - first).tolist()
        return counts

    def alone(self, begin: int, end: int) -> int:
        """Count the units of a stretch that stands alone, as a chunk does.

        A word that lost its beginning, or the space before it, may be spelled in more tokens then.
        """
        span = self._trim(begin, end)
        return self.tokens(*span) if span else 0

    def tokens(self, begin: int, end: int) -> int:
        """Count the tokens of a chunk, which has no white space around it."""
        known = self._counted.get((begin, end))
        if known is None:
            known = self._count(begin, end)
            self._counted[begin, end] = known
        return known

    def reserved(self, begin: int) -> int:
        """Count the units of what is put before a chunk that begins here."""
        del begin
        return 0

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
        tokens = np.array([self.tokens(*span) for span in bounds], dtype=np.int32)
        return Spans(kept[:, 0], kept[:, 1], tokens)

    def _count(self, begin: int, end: int) -> int:
        text = self.text
        if not self._tokenizer.parted_by_spaces:
            return self._tokenizer.count(text[begin:end])
        head, tail = _WORD.match(text, begin, end), _last_word(text, begin, end)
        if head is None or tail == begin:
            return self._tokenizer.count(text[begin:end])
        count = self._among(begin, end)
        if text[begin - 1 : begin] not in _SPACES:
            count += self._tokenizer.count(head[0]) - self._among(*head.span())
        if text[end : end + 1] not in _SPACES:
            count += self._tokenizer.count(text[tail:end]) - self._among(tail, end)
        return count

    def _among(self, begin: int, end: int) -> int:
        """Count the tokens that lie between two positions among others, partly there too."""
        begun, ended = self._tokens
        first = min(begun.searchsorted(begin), ended.searchsorted(begin, "right"))
        return int(begun.searchsorted(end) - first)

    def _trim(self, begin: int, end: int) -> tuple[int, int] | None:
        if begin < end and not (self.text[begin].isspace() or self.text[end - 1].isspace()):
            return begin, end
        inner = self.text[begin:end].lstrip()
        if not inner:
            return None
        begin = end - len(inner)
        return begin, begin + len(inner.rstrip())

    def _is_between(self, cut: int) -> bool:
        return bool(self._between[cut])

    @cached_property
    def _between(self) -> NDArray[np.bool_]:
        """Cuts before which all units have ended, and where one begins that lies elsewhere."""
        starts, before = self._starts, np.roll(self._starts, 1)
        return (starts > before) & (starts >= np.roll(self._ends, 1))


class CharacterText(TokenizedText):
    """A unit is a character; chunks have tokens all the same."""

    unit: ClassVar[str] = "characters"

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        super().__init__(text, tokenizer)
        self.count = len(text)
        self._starts = np.arange(len(text), dtype=np.int64)
        self._ends = self._starts + 1

    def alone(self, begin: int, end: int) -> int:
        span = self._trim(begin, end)
        return span[1] - span[0] if span else 0


def windows(
    text: TokenizedText, chunking: Chunking, begin: int, end: int
) -> Iterator[tuple[int, int]]:
    """Cut a stretch every `size` units; a window begins with the last `overlap` of the one before.

    A window is shorter where it would part a character, or have more units when it stands alone.
    """
    first, last = text.first(begin), text.after(end)
    cut = _longest(text, chunking.size, begin, end)
    yield begin, end if cut == last else text.position(cut)
    while cut < last:
        first, cut = _next(text, chunking, (first, cut), end)
        yield text.position(first), end if cut == last else text.position(cut)


def stretches(text: str, places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Part a text at some places, without the white space at the end of each stretch."""
    whole = (at for at in places if not splits_character(text, at))
    for begin, end in pairwise(sorted({0, *whole, len(text)})):
        if visible := text[begin:end].rstrip():
            yield begin, begin + len(visible)


def _last_word(text: str, begin: int, end: int) -> int:
    return max(begin, *(text.rfind(space, begin, end) + 1 for space in " \t\n\r"))


def _longest(text: TokenizedText, size: int, begin: int, end: int) -> int:
    """Give the last cut up to `end` that a chunk may reach from a position on."""
    first, last = text.first(begin), text.after(end)
    cut = min(last, text.cut_before(first + size, first))
    while (over := text.alone(begin, min(end, text.position(cut))) - size) > 0:
        shorter = text.cut_before(max(cut - over, first + 1), first)
        if shorter >= cut:
            break  # one character alone has more
        cut = shorter
    return cut


def _next(
    text: TokenizedText, chunking: Chunking, window: tuple[int, int], end: int
) -> tuple[int, int]:
    begin, cut = window
    if cut - chunking.overlap > begin:
        again = text.cut_before(cut - chunking.overlap, begin)
        further = _longest(text, chunking.size, text.position(again), end)
        if further > cut:
            return again, further
    return cut, _longest(text, chunking.size, text.position(cut), end)
