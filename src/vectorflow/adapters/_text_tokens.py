"""A tokenized text, and cuts between its tokens: what the chunkers share."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from vectorflow.adapters._text_cuts import splits_character
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import InvalidInput
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer


def check(chunking: Chunking) -> None:
    """Refuse sizes that cannot work.

    Raises:
        InvalidInput: The overlap leaves no room for new text.
    """
    if chunking.size < 1:
        raise InvalidInput(
            f"a chunk size of {chunking.size} tokens holds no text", fix="use 1 or more"
        )
    if not 0 <= chunking.overlap < chunking.size:
        raise InvalidInput(
            f"an overlap of {chunking.overlap} tokens does not fit chunks of {chunking.size}",
            fix=f"use 0 to {chunking.size - 1}, or larger chunks",
        )


class TokenizedText:
    """Positions are characters of the text; cuts are numbers of the tokens they lie before."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        starts, ends = tokenizer.offsets(text)
        self.text = text
        self.count = len(starts)
        self._starts: NDArray[np.int64] = starts.astype(np.int64)
        self._ends: NDArray[np.int64] = np.maximum.accumulate(ends.astype(np.int64))

    def position(self, cut: int) -> int:
        """Where a cut lies; the outermost ones at the ends of the text."""
        if cut <= 0:
            return 0
        return int(self._starts[cut]) if cut < self.count else len(self.text)

    def end(self, cut: int) -> int:
        """Where all tokens before a cut have ended."""
        return int(self._ends[cut - 1]) if cut > 0 else 0

    def first(self, position: int) -> int:
        """The first token with characters from a position on."""
        begins = self._starts.searchsorted(position)
        return int(min(begins, self._ends.searchsorted(position, "right")))

    def is_whole(self, cut: int) -> bool:
        """Tell whether a cut parts neither tokens of one character nor what readers see as one."""
        return self._is_between(cut) and not splits_character(self.text, self.position(cut))

    def cut_before(self, cut: int, floor: int) -> int:
        """Give the last whole cut up to `cut` and above `floor`.

        Where there is none it parts accents from their letter; where that is not enough, because
        one character has more tokens than there is room for, it is the first cut after it.
        """
        if cut >= self.count:
            return self.count
        down = range(cut, floor, -1)
        whole = next(filter(self.is_whole, down), None)
        if whole is not None:
            return whole
        anywhere = chain(down, range(cut + 1, self.count))
        return next(filter(self._is_between, anywhere), self.count)

    def spans(self, begins: Sequence[int], ends: Sequence[int]) -> Spans:
        """Trim white space, drop what then lies within a neighbour, and count tokens."""
        bounds: list[tuple[int, int]] = []
        for begin, end in zip(begins, ends, strict=True):
            span = self._trim(begin, end)
            if span is None or (bounds and span[1] <= bounds[-1][1]):
                continue
            if bounds and span[0] == bounds[-1][0]:
                bounds.pop()
            bounds.append(span)
        kept = np.array(bounds, dtype=np.int64).reshape(-1, 2)
        starts, stops = kept[:, 0], kept[:, 1]
        begun = self._starts.searchsorted(starts)
        first = np.minimum(begun, self._ends.searchsorted(starts, "right"))
        tokens = self._starts.searchsorted(stops) - first
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
