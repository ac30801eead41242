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

    parted_by_spaces: ClassVar[bool] = False
    """Text between white space has as many tokens alone as among other text.

    Never so where a token may begin with the space before it. Chunkers trust it, to count less.
    """

    @abstractmethod
    def offsets(self, text: str) -> TokenOffsets:
        """Tokenize one text. Strings that look like control tokens are plain text."""
        ...

    def count(self, text: str) -> int:
        """Count the tokens of one text; as many as `offsets` gives, perhaps sooner."""
        return len(self.offsets(text).starts)
