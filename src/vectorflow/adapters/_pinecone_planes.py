"""The two data planes of Pinecone in one shape: indexes of vectors and indexes of documents."""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from orjson import Fragment

from vectorflow.adapters._pinecone_records import DOCUMENT, METADATA, TEXT, VERSION, Read, Written
from vectorflow.domain.records import Matrix
from vectorflow.errors import Unavailable

if TYPE_CHECKING:
    from pinecone import AsyncIndex, Vector
    from pinecone.models.response_info import ResponseInfo

_DEFAULT = "__default__"
_PAGE = 100

Filter = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search gave."""

    records: list[Read]
    indexed: int | None
    """Number of the last write that it saw; None where Pinecone does not say."""


class Plane(Protocol):
    """An open index. The name of its default namespace is empty."""

    async def upsert(self, namespace: str, records: Sequence[Written]) -> int | None:
        """Write one request's worth of records; the number of the write, where it is told."""
        ...

    async def fetch(self, namespace: str, ids: Sequence[str]) -> list[Read]:
        """Read a hundred records at most."""
        ...

    async def search(self, namespace: str, vector: Matrix, k: int, filter: Filter) -> Found:
        """Find the nearest."""
        ...

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """Delete a thousand records at most."""
        ...

    async def purge(self, namespace: str, filter: Filter) -> None:
        """Delete what a filter lets through."""
        ...

    def ids(self, namespace: str, filter: Filter) -> AsyncIterator[list[str]]:
        """List the ids of what a filter lets through, page by page."""
        ...


class VectorPlane:
    """An index made with a dimension and a metric."""

    def __init__(self, index: "AsyncIndex") -> None:
        self._index = index
        self._record: type[Vector] = import_module("pinecone").Vector

    async def upsert(self, namespace: str, records: Sequence[Written]) -> int | None:
        """See `Plane`."""
        vectors = [
            self._record(id=one.id, values=_ready(one.vector), metadata=one.fields)
            for one in records
        ]
        answer = await self._index.upsert(vectors=vectors, namespace=namespace)
        _check_count(answer.upserted_count, records)
        return _committed(answer.response_info)

    async def fetch(self, namespace: str, ids: Sequence[str]) -> list[Read]:
        """See `Plane`."""
        answer = await self._index.fetch(ids=ids, namespace=namespace)
        return [
            Read(id=one.id, vector=one.values, fields=one.metadata or {})
            for one in answer.vectors.values()
        ]

    async def search(self, namespace: str, vector: Matrix, k: int, filter: Filter) -> Found:
        """See `Plane`."""
        answer = await self._index.query(
            vector=vector.tolist(),
            top_k=k,
            filter=filter,
            namespace=namespace,
            include_metadata=True,
        )
        records = [
            Read(id=one.id, vector=[], fields=one.metadata or {}, score=one.score)
            for one in answer.matches
        ]
        return Found(records=records, indexed=_indexed(answer.response_info))

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """See `Plane`."""
        await self._index.delete(ids=ids, namespace=namespace)

    async def purge(self, namespace: str, filter: Filter) -> None:
        """See `Plane`."""
        await self._index.delete(filter=filter, namespace=namespace)

    async def ids(self, namespace: str, filter: Filter) -> AsyncIterator[list[str]]:
        """See `Plane`; `list` would be cheaper, but it names foreign records too."""
        token: str | None = None
        while True:
            answer = await self._index.fetch_by_metadata(
                filter=filter,
                namespace=namespace,
                limit=_PAGE,
                pagination_token=token,
            )
            yield list(answer.vectors)
            token = answer.pagination.next if answer.pagination else None
            if not token:
                return


class DocumentPlane:
    """An index made with a schema, of which one field is the vector."""

    def __init__(self, index: "AsyncIndex", field: str) -> None:
        self._documents = index.documents
        self._field = field

    async def upsert(self, namespace: str, records: Sequence[Written]) -> int | None:
        """See `Plane`."""
        documents = [
            one.fields | {"_id": one.id, self._field: _ready(one.vector)} for one in records
        ]
        answer = await self._documents.upsert(namespace=namespace or _DEFAULT, documents=documents)
        _check_count(answer.upserted_count, records)
        return _committed(answer.response_info)

    async def fetch(self, namespace: str, ids: Sequence[str]) -> list[Read]:
        """See `Plane`."""
        answer = await self._documents.fetch(namespace=namespace or _DEFAULT, ids=ids)
        return [self._read(one.to_dict()) for one in answer.documents.values()]

    async def search(self, namespace: str, vector: Matrix, k: int, filter: Filter) -> Found:
        """See `Plane`."""
        clause = {"type": "dense_vector", "field": self._field, "values": vector.tolist()}
        answer = await self._documents.search(
            namespace=namespace or _DEFAULT,
            score_by=[clause],
            top_k=k,
            filter=filter,
            include_fields=[TEXT, DOCUMENT, VERSION, METADATA],
        )
        records = [self._read(one.to_dict()) for one in answer.matches]
        return Found(records=records, indexed=_indexed(answer.response_info))

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        """See `Plane`."""
        await self._documents.delete(namespace=namespace or _DEFAULT, ids=ids)

    async def purge(self, namespace: str, filter: Filter) -> None:
        """See `Plane`."""
        await self._documents.delete(namespace=namespace or _DEFAULT, filter=filter)

    async def ids(self, namespace: str, filter: Filter) -> AsyncIterator[list[str]]:
        """See `Plane`."""
        token: str | None = None
        while True:
            answer = await self._documents.fetch(
                namespace=namespace or _DEFAULT,
                filter=filter,
                include_fields=[VERSION],
                pagination_token=token,
                limit=_PAGE,
            )
            yield list(answer.documents)
            token = answer.pagination.next if answer.pagination else None
            if not token:
                return

    def _read(self, document: dict[str, object]) -> Read:
        return Read(
            id=str(document.pop("_id")),
            vector=cast("list[float]", document.pop(self._field, [])),
            score=cast("float", document.pop("_score", math.nan)),
            fields=document,
        )


def _ready(vector: bytes) -> list[float]:
    """Let the client write a vector as it is: with lists it would take three times as long."""
    return cast("list[float]", Fragment(vector))


def _check_count(taken: int, records: Sequence[Written]) -> None:
    if taken != len(records):
        raise Unavailable(f"Pinecone took {taken} records of a write of {len(records)}")


def _committed(info: "ResponseInfo | None") -> int | None:
    return info.lsn_committed if info else None


def _indexed(info: "ResponseInfo | None") -> int | None:
    return info.lsn_reconciled if info else None
