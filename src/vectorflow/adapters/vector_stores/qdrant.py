"""The vector store in Qdrant, over its REST.

A collection per index; its metadata holds the marker. Points of others in the same collection are
neither read nor changed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, NoReturn, Self, cast

import numpy as np
import pyarrow as pa
from aiohttp.abc import AbstractResolver

from vectorflow.adapters._qdrant_collections import PREFIX, Collection, QdrantCollections
from vectorflow.adapters._qdrant_http import NOT_THERE, Address, Answer, QdrantHttp, refusal
from vectorflow.adapters._qdrant_points import (
    EXACT,
    OURS,
    SHOWN,
    Batch,
    Point,
    ScoredPoint,
    WholePoint,
    filter_of,
    scored_records,
    unit,
    whole_records,
)
from vectorflow.domain.records import record_schema
from vectorflow.domain.store_rules import (
    check_index_name,
    check_records,
    distinct_ids,
    filter_terms,
)
from vectorflow.errors import (
    BadChunk,
    DimensionMismatch,
    IndexLost,
    InvalidInput,
    TooMuchAtOnce,
    Unavailable,
)
from vectorflow.ports.vector_store import Marker, Query, Remote, Upkeep, VectorStore

_BODY, _MAX_BODY = 8_000_000, 16_000_000
_IDS_PER_DELETE, _IDS_PER_FETCH, _IDS_PER_PAGE = 10_000, 500, 5_000
_BAD = 400


class QdrantVectorStore(VectorStore, Upkeep, Remote):
    """`qdrant://host:6333`; TLS unless the host is this one or the address says `?tls=false`."""

    batch_records: ClassVar[int] = 1_000

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        key: str | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Choose the Qdrant; nothing is opened yet.

        Args:
            url: Without a key.
            timeout: Seconds of one call.
            key: Sent with every request.
            resolver: Looks names up, and refuses those that may not be called.
        """
        address = Address.parse(url)
        self._http = QdrantHttp(address, timeout=timeout, key=key, resolver=resolver)
        self._collections = QdrantCollections(self._http, timeout=timeout)
        self._timeout = timeout

    @classmethod
    def locator(cls, url: str) -> str:
        return Address.parse(url).locator

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.close()

    async def marker(self, index: str) -> Marker | None:
        async with self._call(index):
            found = await self._collections.find(index)
            return found.marker if found else None

    async def dimensions(self, index: str) -> int | None:
        async with self._call(index):
            found = await self._collections.find(index)
            return found.dimensions if found else None

    async def create(self, index: str, marker: Marker) -> Marker:
        async with self._call(index):
            await self._collections.check_version()
            while True:
                found = await self._collections.find(index)
                if found is None:
                    if await self._collections.make(index, marker):
                        return marker
                elif found.marker is None or _is_stale(found.marker, marker):
                    async with self._collections.turn(index):
                        await self._take(index, marker)
                else:
                    return await self._settled(index, found, found.marker, marker)

    async def upsert(self, index: str, records: pa.Table) -> None:
        async with self._call(index):
            if (found := await self._marked(index)) is None:
                raise IndexLost(f"index {index!r} is not there")
            batch = Batch(records, check_records(index, records, found.dimensions))
            write = partial(self._write, index, batch, found.dimensions)
            await _in_parts(len(records), batch.rows_of(_BODY), write)

    async def delete(self, index: str, ids: Sequence[str]) -> None:
        distinct = distinct_ids(ids)
        async with self._call(index):
            if distinct and await self._marked(index):
                for start in range(0, len(distinct), _IDS_PER_DELETE):
                    some = distinct[start : start + _IDS_PER_DELETE]
                    await self._delete(index, {"points": some})

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        distinct = distinct_ids(ids)
        tables: list[pa.Table] = []

        async def read(start: int, stop: int) -> None:
            wanted = {
                "ids": distinct[start:stop],
                "with_payload": [*SHOWN, EXACT],
                "with_vector": True,
            }
            answer = await self._ask("POST", f"/collections/{index}/points", wanted)
            points = cast("list[WholePoint]", answer.result if answer.ok else [])
            tables.append(whole_records(points, dimensions))

        async with self._call(index):
            found = await self._marked(index)
            dimensions = found.dimensions if found else 0
            if found:
                await _in_parts(len(distinct), _IDS_PER_FETCH, read)
        return pa.concat_tables([record_schema(dimensions).empty_table(), *tables])

    async def search(self, index: str, query: Query) -> pa.Table:
        terms = filter_terms(query.filter)
        async with self._call(index):
            found = await self._marked(index)
            if found and len(query.vector) != found.dimensions:
                raise DimensionMismatch(index, held=found.dimensions, got=len(query.vector))
            if found is None or query.k < 1 or not query.vector.any():
                return scored_records([], [])
            wanted = {
                "query": unit(query.vector).tolist(),
                "limit": query.k,
                "filter": filter_of(terms),
                "with_payload": list(SHOWN),
            }
            answer = await self._ask("POST", f"/collections/{index}/points/query", wanted)
        result = cast("dict[str, list[ScoredPoint]]", answer.result if answer.ok else {})
        points = result.get("points", [])
        scores = np.asarray([point["score"] for point in points], dtype=np.float64)
        return scored_records(points, list(1 - scores**2 / 2 if found.is_euclidean else scores))

    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        wanted: dict[str, object] = {
            "filter": {"must": [OURS]},
            "limit": _IDS_PER_PAGE,
            "with_payload": False,
        }
        more: object = True
        while more:
            async with self._call(index):
                if await self._marked(index) is None:
                    return
                answer = await self._ask("POST", f"/collections/{index}/points/scroll", wanted)
            result = cast("Mapping[str, object]", answer.result if answer.ok else {})
            if page := [point["id"] for point in cast("list[Point]", result.get("points", []))]:
                yield page
            more = wanted["offset"] = result.get("next_page_offset")

    async def optimize(self, index: str) -> None:
        """Qdrant's own optimizers do it all."""
        _check_name(index)

    @contextlib.asynccontextmanager
    async def _call(self, index: str) -> AsyncGenerator[None]:
        _check_name(index)
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            raise Unavailable(f"Qdrant took too long on index {index!r}") from error

    async def _ask(self, method: str, path: str, body: object = None) -> Answer:
        return await self._http.ask(method, path, body, also={NOT_THERE})

    async def _marked(self, index: str) -> Collection | None:
        found = await self._collections.find(index)
        return found if found and found.marker else None

    async def _settled(self, index: str, found: Collection, held: Marker, wanted: Marker) -> Marker:
        if held.ledger == wanted.ledger:
            if held.dimensions != wanted.dimensions:
                raise DimensionMismatch(index, held=held.dimensions, got=wanted.dimensions)
            await self._collections.index_payload(index, found.indexed)
        return held

    async def _take(self, index: str, marker: Marker) -> None:
        """Mark a collection of the user, or one of ours anew; called by one at a time."""
        found = await self._collections.find(index)
        if found is None or (found.marker and not _is_stale(found.marker, marker)):
            return
        is_fit = found.dimensions == marker.dimensions
        if is_fit or found.made_here:
            await self._collections.index_payload(index, found.indexed)
        if is_fit:
            await self._delete(index, {"filter": {"must": [OURS]}})
            await self._collections.mark(index, marker, made_here=found.made_here)
        elif found.made_here and not await self._holds_others(index):
            await self._collections.remove(index)
        else:
            raise DimensionMismatch(index, held=found.dimensions, got=marker.dimensions)

    async def _holds_others(self, index: str) -> bool:
        wanted = {"filter": {"must_not": [OURS]}, "exact": True}
        answer = await self._ask("POST", f"/collections/{index}/points/count", wanted)
        return answer.ok and cast("dict[str, int]", answer.result)["count"] > 0

    async def _write(
        self, index: str, batch: Batch, dimensions: int, start: int, stop: int
    ) -> None:
        body = batch.body(start, stop)
        if len(body) > _MAX_BODY and stop - start > 1:
            raise TooMuchAtOnce("more bytes than one request should have")
        path = f"/collections/{index}/points?wait=true"
        try:
            answer = await self._http.ask("PUT", path, body, also={NOT_THERE, _BAD})
        except TooMuchAtOnce as error:
            if stop - start > 1:
                raise
            raise BadChunk("one record is larger than Qdrant takes", position=start) from error
        if not answer.ok:
            await self._explain(index, answer.status, dimensions)
        _check_completed(index, answer)

    async def _explain(self, index: str, status: int, dimensions: int) -> NoReturn:
        """Raise why a write was refused: the collection may have changed since it was read."""
        found = await self._marked(index)
        if found is None:
            raise IndexLost(f"index {index!r} is not there")
        if found.dimensions != dimensions:
            raise DimensionMismatch(index, held=found.dimensions, got=dimensions)
        raise refusal(status)

    async def _delete(self, index: str, which: Mapping[str, object]) -> None:
        answer = await self._ask("POST", f"/collections/{index}/points/delete?wait=true", which)
        if answer.ok:
            _check_completed(index, answer)


def _check_name(index: str) -> None:
    check_index_name(index)
    if index.startswith(PREFIX):
        raise InvalidInput(f"index name {index!r} is kept for VectorFlow", fix="use another name")


def _is_stale(held: Marker, wanted: Marker) -> bool:
    return held.ledger == wanted.ledger and held.incarnation != wanted.incarnation


def _check_completed(index: str, answer: Answer) -> None:
    """A write that only waits in a queue is not yet to be found."""
    if cast("Mapping[str, object]", answer.result)["status"] != "completed":
        raise Unavailable(f"Qdrant has not yet done a write to index {index!r}")


async def _in_parts(count: int, size: int, do: Callable[[int, int], Awaitable[None]]) -> None:
    """Do it for so many rows at once, or for halves of them where that is too much."""
    parts = [(start, min(count, start + size)) for start in range(0, count, size)]
    while parts:
        start, stop = parts.pop(0)
        try:
            await do(start, stop)
        except TooMuchAtOnce:
            if stop - start < 2:  # noqa: PLR2004
                raise
            middle = (start + stop) // 2
            parts[:0] = [(start, middle), (middle, stop)]
