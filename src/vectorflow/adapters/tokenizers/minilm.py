"""The WordPiece tokenizer of all-MiniLM-L6-v2."""

from itertools import chain
from typing import ClassVar

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer

from vectorflow.adapters import _minilm
from vectorflow.ports.tokenizer import Tokenizer, TokenOffsets


class MiniLmTokenizer(Tokenizer):
    """Counts as the `local` embedder does. Accents and control characters lie between tokens."""

    revision: ClassVar[int] = 1

    def __init__(self) -> None:
        self._tokenizer = HuggingFaceTokenizer.from_str(_minilm.tokenizer_json())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a document is text

    def offsets(self, text: str) -> TokenOffsets:
        encoding = self._tokenizer.encode(_minilm.encodable(text), add_special_tokens=False)
        pairs = encoding.offsets
        flat = np.fromiter(chain.from_iterable(pairs), dtype=np.int32, count=2 * len(pairs))
        return TokenOffsets(flat[0::2].copy(), flat[1::2].copy())
