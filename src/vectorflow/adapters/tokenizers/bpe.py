"""The byte-pair tokenizers of OpenAI's models."""

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from vectorflow.adapters._openai_bpe import encoding
from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets

_LAST_CONTINUATION: Final = np.int8(-65)
"""In UTF-8 the bytes 0x80 to 0xBF go on with a character; all others begin one."""


class Cl100kTokenizer(Tokenizer):
    """Counts as OpenAI's embedding models do, but for white space at the end, which is no token.

    White space before a word belongs to its token and not to the token's span. Tokens that share a
    character have its span each.
    """

    revision: ClassVar[int] = 1
    _name: ClassVar[str] = "cl100k"

    def __init__(self) -> None:
        self._encoding = encoding(self._name)

    def offsets(self, text: str) -> TokenOffsets:
        data = text.rstrip().encode("utf-8", "replace")  # a lone surrogate becomes one `?`
        ids = self._encoding.ids(data)
        lengths = self._encoding.lengths[ids]
        ends = np.cumsum(lengths, dtype=np.int32)
        starts = ends - lengths + self._encoding.spaces[ids]
        if text.isascii():
            return TokenOffsets(starts, ends)
        return _characters(data, starts, ends)

    def count(self, text: str) -> int:
        return len(self._encoding.ids(text.rstrip().encode("utf-8", "replace")))


class O200kTokenizer(Cl100kTokenizer):
    """Counts as OpenAI's newer chat models do; otherwise as `cl100k`."""

    _name: ClassVar[str] = "o200k"


def _characters(data: bytes, starts: NDArray[np.int32], ends: NDArray[np.int32]) -> TokenOffsets:
    """Turn bytes of UTF-8 into characters; a part of a character counts as all of it."""
    begins = np.frombuffer(data, np.int8) > _LAST_CONTINUATION
    begun = np.zeros(len(data) + 1, dtype=np.int32)
    np.cumsum(begins, dtype=np.int32, out=begun[1:])
    return TokenOffsets(begun[starts + 1] - 1, begun[ends])
