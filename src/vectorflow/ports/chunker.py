"""The port `chunker`: a section -> spans of it."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vectorflow.domain.documents import Section


class Spans(NamedTuple):
    """Chunks of one section, in order: a value per chunk."""

    starts: NDArray[np.int64]
    """Characters from the start of the section."""
    ends: NDArray[np.int64]
    """One past the last character."""
    tokens: NDArray[np.int32]
    """Those of the chunk alone, as the model reads it, a repeated header included."""
    repeats: NDArray[np.bool_] | None = None
    """Chunks that the section's `header` is put before; None for none at all."""


class Chunker(Protocol):
    """Cuts sections. Made as `Chunker(tokenizer, chunking)`; runs in a worker thread.

    The laws: `text[start:end]` is the chunk, after the header where it is repeated; no chunk has
    more than `size` tokens when it stands alone; together the chunks cover everything but white
    space; the same section gives the same spans.
    """

    revision: ClassVar[int]

    @abstractmethod
    def chunk(self, section: Section) -> Spans:
        """Cut one section; white space alone gives no chunk."""
        ...
