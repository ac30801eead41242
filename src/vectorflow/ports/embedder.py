"""The port `embedder`: texts -> vectors."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self, runtime_checkable

from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix

Purpose = Literal["document", "query"]
"""Some models embed queries and documents differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderLimits:
    """What one request may hold, and how many may be under way."""

    max_text_tokens: int
    """Tokens the model reads of one text, without its special tokens."""
    request_tokens: int
    """Tokens of one request, padding included; for a local model the fastest size."""
    request_texts: int
    concurrency: int
    """Requests under way at once in one process."""
    paid: bool = False
    """Each request costs money: vectors are kept before anything else is done with them."""
    cached: bool = True
    """Vectors are worth a cache: making one takes far longer than finding it, some microseconds."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors. Cheap to make; loads or connects in `__aenter__`."""

    fingerprint: Fingerprint
    limits: EmbedderLimits
    tokenizer: str
    """Name of the tokenizer plugin that counts as this model counts."""

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        """Embed texts, one row each, in the same order; adds the model's own prefix.

        Never blocks the event loop; may be called `limits.concurrency` times at once. The same
        text gives the same vector. No texts give shape (0, dimensions).

        Returns:
            Shape (len(texts), dimensions), float32, finite, unit length if the fingerprint says so.

        Raises:
            Throttled: Asked to slow down.
            Unavailable: Does not answer.
            BadChunk: One text is refused; `position` is its place in `texts`.
        """
        ...
