"""The port `tokenizer`: texts -> token counts and offsets."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class TokenOffsets(NamedTuple):
    """Where each token lies: characters of the text, ascending; a token may be empty."""

    starts: NDArray[np.int32]
    ends: NDArray[np.int32]


class Tokenizer(Protocol):
    """Counts as the model counts, without its special tokens. Thread-safe."""

    revision: ClassVar[int]

    @abstractmethod
    def offsets(self, text: str) -> TokenOffsets:
        """Tokenize one text. Strings that look like control tokens are plain text."""
        ...
