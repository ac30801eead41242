"""Tokens of words that were seen before: text is mostly the same words again."""

import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vectorflow.ports.tokenizer import TokenOffsets

_PIECE: Final = re.compile(
    r"[ \t\n\r]*+[^ \t\n\r!-/:-@\[-`{-~\u4e00-\u9fff]*+[!-/:-@\[-`{-~\u4e00-\u9fff]?+"
)
"""White space, a word, and one mark of ASCII or Chinese character, as far as there is each."""

MAX_PIECES: Final = 1 << 16
MAX_CHARACTERS: Final = 1 << 20
"""With more of either the memory begins anew: some 15 MB."""

Tokenize = Callable[[str], TokenOffsets]


class WordMemory:
    """Tokenizes a text as a tokenizer of the BERT family would do at once. Thread-safe.

    Such a tokenizer parts a text at spaces, tabs, line ends, marks and Chinese characters before it
    looks at anything else, so each piece that ends there can be tokenized, and remembered, alone.
    """

    def __init__(self, tokenize: Tokenize) -> None:
        self._tokenize = tokenize
        self._known = _Known()
        self._lock = Lock()

    @property
    def pieces(self) -> int:
        """Count what is remembered."""
        return len(self._known.numbers)

    def offsets(self, text: str) -> TokenOffsets:
        """Tokenize one text."""
        known, numbers = self._numbers(text)
        return known.offsets(numbers)

    def count(self, text: str) -> int:
        """Count the tokens of one text."""
        known, numbers = self._numbers(text)
        return int(known.counts[numbers].sum())

    def _numbers(self, text: str) -> tuple["_Known", NDArray[np.intp]]:
        """Number the pieces of a text; most texts have none that is new."""
        pieces, known = _PIECE.findall(text), self._known
        try:
            return known, known.numbered(pieces)
        except KeyError:
            known = self._learned(pieces)
            return known, known.numbered(pieces)

    def _learned(self, pieces: Sequence[str]) -> "_Known":
        """Give a memory that knows all these pieces; others may learn more meanwhile."""
        with self._lock:
            if self._known.full:
                self._known = _Known()
            known = self._known
            new = set(pieces).difference(known.numbers)
            if new:
                known.learn(sorted(new), self._tokenize)
        return known


class _Known:
    """Pieces by number; what is known of one never changes, so readers need no lock."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.counts: NDArray[np.int32] = np.zeros(0, np.int32)
        """Tokens of each piece."""
        self._lengths: NDArray[np.int32] = np.zeros(0, np.int32)
        """Characters of each piece."""
        self._firsts: NDArray[np.int32] = np.zeros(0, np.int32)
        """Where the tokens of each piece begin among those of all."""
        self._starts: NDArray[np.int32] = np.zeros(0, np.int32)
        self._ends: NDArray[np.int32] = np.zeros(0, np.int32)
        self._characters = 0

    @property
    def full(self) -> bool:
        return len(self.numbers) >= MAX_PIECES or self._characters >= MAX_CHARACTERS

    def learn(self, pieces: Sequence[str], tokenize: Tokenize) -> None:
        """Tokenize new pieces in one go, a line between each two."""
        lengths = np.fromiter(map(len, pieces), np.int32, len(pieces))
        begins = np.concatenate([[0], np.cumsum(lengths + 1)]).astype(np.int32)
        starts, ends = tokenize("\n".join(pieces))
        owners = begins.searchsorted(starts, "right") - 1
        counts = np.bincount(owners, minlength=len(pieces)).astype(np.int32)
        firsts = np.cumsum(counts) - counts + len(self._starts)
        self._starts = np.concatenate([self._starts, starts - begins[owners]]).astype(np.int32)
        self._ends = np.concatenate([self._ends, ends - begins[owners]]).astype(np.int32)
        self._firsts = np.concatenate([self._firsts, firsts]).astype(np.int32)
        self._lengths = np.concatenate([self._lengths, lengths])
        self.counts = np.concatenate([self.counts, counts])
        self._characters += int(lengths.sum())
        known = len(self.numbers)
        # last, so that who finds a number finds what belongs to it
        self.numbers.update(zip(pieces, range(known, known + len(pieces)), strict=True))

    def numbered(self, pieces: Sequence[str]) -> NDArray[np.intp]:
        """Number pieces.

        Raises:
            KeyError: One is new.
        """
        return np.fromiter(map(self.numbers.__getitem__, pieces), np.intp, len(pieces))

    def offsets(self, numbers: NDArray[np.intp]) -> TokenOffsets:
        """Put the tokens of pieces that follow each other in a row."""
        lengths, counts = self._lengths[numbers], self.counts[numbers]
        begins = np.cumsum(lengths, dtype=np.int32) - lengths
        before = np.cumsum(counts, dtype=np.int32) - counts
        at = np.repeat(self._firsts[numbers] - before, counts)
        at += np.arange(len(at), dtype=np.int32)
        moved = np.repeat(begins, counts)
        return TokenOffsets(self._starts[at] + moved, self._ends[at] + moved)
