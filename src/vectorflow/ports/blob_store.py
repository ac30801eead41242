"""The port `blob_store`: uploads, manifests, vector files."""

from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """A stored blob."""

    key: str
    size: int
    age: float
    """Seconds since it was written."""


class BlobStore(Protocol):
    """Holds immutable bytes by key. Keys are `kind/name`, made by us, never by a user."""

    @abstractmethod
    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        """Write a blob; it is durable and whole when this returns, and not there at all before.

        Writing a key again replaces it. Memory holds one part at a time.

        Returns:
            Bytes written.

        Raises:
            OutOfSpace: Nothing was kept.
        """
        ...

    @abstractmethod
    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a stretch; None means to the end.

        Raises:
            NotFound: There is no such blob.
        """
        ...

    @abstractmethod
    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stretch as a seekable file, for a worker thread; the caller closes it.

        Raises:
            NotFound: There is no such blob.
        """
        ...

    @abstractmethod
    async def delete(self, keys: Sequence[str]) -> None:
        """Delete blobs; keys that are not there are ignored."""
        ...

    @abstractmethod
    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """List blobs whose key begins with `prefix`, in any order.

        Raises:
            Unavailable: They are away, or another ledger's.
        """
        ...

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Room left; None where there is no bound.

        Raises:
            Unavailable: The blobs are away, or another ledger's: nothing should be done with them.
        """
        ...
