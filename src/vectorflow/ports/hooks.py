"""The port `hooks`: addresses that users give, called from a worker or the API."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self

from vectorflow.domain.records import Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Vectors of one batch, for a webhook: a value per chunk, in order."""

    job: int
    document_id: str
    """As the client gave it; empty where it gave none."""
    texts: Sequence[str]
    chunk_ids: Sequence[str]
    vectors: Matrix
    extras: Sequence[Mapping[str, object]]
    """Keys that a validation added to the chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A chunk that a validation may keep, change or drop."""

    chunk_id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Valid:
    """A chunk that a validation kept."""

    chunk_id: str
    text: str
    """Perhaps rewritten."""
    extra: Mapping[str, object]
    """Keys that it added; JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The body of an answer, not read yet."""

    name: str
    """Last part of the path of the address that was given; may be empty."""
    size: int | None
    """Bytes, where the other side says so."""
    blocks: AsyncGenerator[bytes]
    """Raises as the port does, TooLarge past the limit that was given."""


class Hooks(Protocol):
    """Calls out, guarded: every address is checked, and the checked one is connected to.

    No message names more of an address than its host. Every call ends in bounded time.

    Raises:
        ForbiddenAddress: From any call: scheme, port or address may not be called from here.
        Throttled, Unavailable: From any call; trying again may help. An answer of 408, 409, 425,
            429 or 5xx is one of them.
    """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def deliver(self, url: str, key: str, delivery: Delivery) -> None:
        """Post vectors to a webhook; any 2xx is delivered.

        A try that failed may have arrived: each try of a delivery carries the same id.

        Raises:
            HookRefused: It answered another 4xx, or redirects; the key goes nowhere else.
            InvalidInput: The key cannot be sent as a header, or a chunk not as JSON.
        """
        ...

    @abstractmethod
    async def validate(self, url: str, candidates: Sequence[Candidate]) -> Sequence[Valid]:
        """Ask which chunks to keep; in the order of the candidates, none twice.

        It may keep none. A text that it rewrote is not empty, but may be of any length; what it
        adds to a chunk is bounded.

        Raises:
            HookRefused: It answered another 4xx, redirects, or not in the form that was agreed.
            InvalidInput: A chunk cannot be sent as JSON.
        """
        ...

    @abstractmethod
    def fetch(self, url: str, *, limit: int) -> AbstractAsyncContextManager[Fetched]:
        """Read what lies at an address, `limit` bytes at most; a few redirects are followed.

        Raises:
            HookRefused: It answered another 4xx, redirects too often, or gives no plain, whole
                file.
            TooLarge: It says that it is larger than the limit.
        """
        ...
