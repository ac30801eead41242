"""The WordPiece tokenizer of all-MiniLM-L6-v2."""

from itertools import chain
from typing import ClassVar

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer

from vectorflow.adapters import _minilm
from vectorflow.adapters._word_memory import WordMemory
from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets


class MiniLmTokenizer(Tokenizer):
    """Counts as the `local` embedder does. Accents and control characters lie between tokens."""

    revision: ClassVar[int] = 1
    parted_by_spaces: ClassVar[bool] = True

    def __init__(self) -> None:
        self._tokenizer = HuggingFaceTokenizer.from_str(_minilm.tokenizer_json())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a document is text
        self._words = WordMemory(self.offsets_at_once)

    def offsets(self, text: str) -> TokenOffsets:
        return self._words.offsets(_minilm.encodable(text))

    def count(self, text: str) -> int:
        return self._words.count(_minilm.encodable(text))

    def offsets_at_once(self, text: str) -> TokenOffsets:
        """Tokenize without the memory of words: the same, more slowly."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        pairs = encoding.offsets
        flat = np.fromiter(chain.from_iterable(pairs), dtype=np.int32, count=2 * len(pairs))
        return TokenOffsets(flat[0::2].copy(), flat[1::2].copy())
