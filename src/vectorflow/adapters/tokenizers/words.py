"""Words and marks: what the `hash` embedder counts."""

import re
from itertools import chain
from typing import ClassVar, Final

import numpy as np

from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets

_TOKEN: Final = re.compile(r"\w{1,16}|[^\w\s]")
"""Long runs, as in scripts without spaces or in encoded data, count as several words."""


class WordTokenizer(Tokenizer):
    """Words of up to 16 letters or digits, and every other mark on its own."""

    revision: ClassVar[int] = 1
    parted_by_spaces: ClassVar[bool] = True

    def offsets(self, text: str) -> TokenOffsets:
        spans = [match.span() for match in _TOKEN.finditer(text)]
        flat = np.fromiter(chain.from_iterable(spans), dtype=np.int32, count=2 * len(spans))
        return TokenOffsets(flat[0::2].copy(), flat[1::2].copy())

    def count(self, text: str) -> int:
        return len(_TOKEN.findall(text))
