"""The port `vector_store`: where records live."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self, runtime_checkable

import pyarrow as pa

from vectorflow.domain.records import Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """Says whose an index is. Kept in the store beside the records, never a searchable record."""

    ledger: str
    fingerprint: str
    """Digest of the fingerprint of its vectors."""
    incarnation: str
    dimensions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for."""

    vector: Matrix
    """Shape (dimensions,)."""
    k: int
    filter: Mapping[str, object] = field(default_factory=dict[str, object])
    """Every key of the metadata must equal its value; strings, numbers and booleans."""


@runtime_checkable
class VectorStore(Protocol):
    """Reached as an async context manager made from a URL. Every call has a timeout of its own.

    An index name is used as it is given, or refused with InvalidInput; never silently changed.

    Raises:
        Throttled, Unavailable: From any call; trying again is harmless.
        KeyRefused: From any call; a login or a right is missing, and no record is to blame.
        IndexRefused: From any call on an index that is not ours to use.
    """

    batch_records: ClassVar[int]
    """Records of one write at most; writes of this size are the store's best bulk path."""

    @classmethod
    @abstractmethod
    def locator(cls, url: str) -> str:
        """Give the one canonical form of this store's address, without credentials."""
        ...

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def marker(self, index: str) -> Marker | None:
        """Read the marker; None where the index does not exist or has none."""
        ...

    @abstractmethod
    async def create(self, index: str, marker: Marker) -> Marker:
        """Create the index unless it is there, mark it unless it is marked, and give its marker.

        Two callers at once end with one index and one marker. An index of ours whose incarnation
        differs is emptied and marked anew.

        Raises:
            DimensionMismatch: It holds vectors of another length.
        """
        ...

    @abstractmethod
    async def upsert(self, index: str, records: pa.Table) -> None:
        """Write records (columns of `record_schema`), replacing those with the same id.

        Durable and visible to `search` and `fetch` of every process when it returns. Ids within
        one call are distinct. A failed call may have written some.

        Raises:
            IndexLost: There is no such index.
        """
        ...

    @abstractmethod
    async def delete(self, index: str, ids: Sequence[str]) -> None:
        """Delete records; ids that are not there are ignored, and so is a missing index."""
        ...

    @abstractmethod
    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        """Read records (columns of `record_schema`) in any order; absent ids are left out."""
        ...

    @abstractmethod
    async def search(self, index: str, query: Query) -> pa.Table:
        """Find the nearest records by cosine, the best first.

        Returns:
            Columns of `record_schema` without `vector`, plus `score` (float64, 1 is equal,
            higher is better). No rows where the index is missing.
        """
        ...


@runtime_checkable
class Upkeep(Protocol):
    """What some stores offer beside: listing for checks, and the work that keeps them fast."""

    @abstractmethod
    def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        """List all ids of an index, page by page."""
        ...

    @abstractmethod
    async def optimize(self, index: str) -> None:
        """Compact and index what was written; idempotent, safe beside writers."""
        ...


@runtime_checkable
class Remote(Protocol):
    """What stores reached over a network offer beside: whether an index is there."""

    @abstractmethod
    async def dimensions(self, index: str) -> int | None:
        """Give the length of the vectors that an index takes, marked or not; None: not there.

        Raises:
            Throttled, Unavailable, KeyRefused: The store does not say.
            IndexRefused: It is there, but of a kind that cannot hold records.
        """
        ...
