"""The vector store Pinecone, through its own client.

An index of ours is a namespace of one Pinecone index, which must be there already. Markers are
records of a namespace of their own. Pinecone shows writes after a while: a write here returns
when it shows, or fails and is harmlessly done again.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Self

import pyarrow as pa
from pinecone.errors.exceptions import NotFoundError

from vectorflow.adapters._pinecone_errors import translated
from vectorflow.adapters._pinecone_index import (
    CONTROL,
    SCHEME,
    Facts,
    bare_host,
    base_url,
    check_host,
    control_plane,
    data_plane,
    facts_of,
    host_of,
    is_local,
    look,
)
from vectorflow.adapters._pinecone_planes import Plane
from vectorflow.adapters._pinecone_records import (
    Written,
    fetched_table,
    found_table,
    of_index,
    of_other_incarnations,
    searchable,
    too_large,
    unit_rows,
    unit_vector,
    vector_json,
    written_records,
)
from vectorflow.adapters._pinecone_writes import Writes, all_of
from vectorflow.domain.documents import canonical_json
from vectorflow.domain.records import record_schema
from vectorflow.domain.store_rules import (
    check_index_name,
    check_records,
    distinct_ids,
    filter_terms,
)
from vectorflow.errors import (
    DimensionMismatch,
    IndexLost,
    InvalidInput,
    KeyRefused,
    NotFound,
    Unavailable,
)
from vectorflow.ports.vector_store import Marker, Query, Remote, Upkeep, VectorStore

if TYPE_CHECKING:
    from pinecone import AsyncIndex

_RESERVED = "vectorflow_"
_MARKERS, _MARKER = "vectorflow_markers", "vf_marker"
_IDS_PER_FETCH, _IDS_PER_DELETE, _MAX_K = 100, 1_000, 10_000
_REQUESTS = 8  # at once
_PAUSE = 0.05
_SETTLE = 1.0


class PineconeVectorStore(VectorStore, Upkeep, Remote):
    """`pinecone://INDEX-HOST`, such as `pinecone://docs-abc123.svc.aped-4627-b74a.pinecone.io`.

    Args:
        url: The address.
        timeout: Seconds that a call may take. Documents may take a minute to show.
        key: Key of the project that the index is in.
        allow: Hosts beside Pinecone's and this machine's that may be called.
        settle: Seconds at least that a new marker is left alone before it counts.
    """

    batch_records: ClassVar[int] = 2_000

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        key: str | None = None,
        allow: Sequence[str] = (),
        settle: float = _SETTLE,
    ) -> None:
        self._host = host_of(url)
        check_host(self._host, allow)
        self._timeout = timeout
        self._key = key
        self._settle = settle
        self._index: AsyncIndex | None = None
        self._opened: _Opened | None = None
        self._opening = asyncio.Lock()
        self._gate = asyncio.Semaphore(_REQUESTS)

    @classmethod
    def locator(cls, url: str) -> str:
        return SCHEME + host_of(url)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(import_module, "pinecone.async_client.pinecone")
        await asyncio.to_thread(import_module, "pinecone.async_client.async_index")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._opened = None
        if self._index is not None:
            await self._index.close()

    async def marker(self, index: str) -> Marker | None:
        _namespace(index)
        with contextlib.suppress(IndexLost):
            async with self._call(index) as opened:
                return await _marker(opened.plane, index)
        return None

    async def create(self, index: str, marker: Marker) -> Marker:
        _namespace(index)
        try:
            return await self._create(index, marker)
        except IndexLost as error:
            raise NotFound(
                f"the Pinecone index that should hold {index!r} is not there",
                fix="make it in Pinecone first, with the dimension of the model",
            ) from error

    async def upsert(self, index: str, records: pa.Table) -> None:
        namespace = _namespace(index)
        async with self._call(index) as opened:
            if (marker := await _marker(opened.plane, index)) is None:
                raise IndexLost(f"index {index!r} is not there")
            vectors = unit_rows(check_records(index, records, marker.dimensions), opened.metric)
            if len(records) == 0:
                return
            written = await asyncio.to_thread(
                written_records, records, vectors, marker.incarnation, opened.facts.layout
            )
            bad = [error for one in written if (error := too_large(one))]
            rows = {error.position for error in bad}
            writes = Writes(opened.plane, namespace, index, self._gate)
            await writes.write([one for one in written if one.row not in rows])
            await writes.shown(marker.incarnation, marker.dimensions)
            if bad:
                raise bad[0]

    async def delete(self, index: str, ids: Sequence[str]) -> None:
        namespace = _namespace(index)
        distinct = distinct_ids(ids)
        with contextlib.suppress(IndexLost):  # so says Pinecone of a namespace without records
            async with self._call(index) as opened:
                if await _marker(opened.plane, index):
                    for some in _parts(distinct, _IDS_PER_DELETE):
                        await opened.plane.delete(namespace, some)

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        namespace = _namespace(index)
        distinct = distinct_ids(ids)
        with contextlib.suppress(IndexLost):
            async with self._call(index) as opened:
                if marker := await _marker(opened.plane, index):
                    parts = _parts(distinct, _IDS_PER_FETCH)
                    fetches = [opened.plane.fetch(namespace, part) for part in parts]
                    found = await all_of(self._gate, fetches)
                    rows = [read for part in found for read in part]
                    return fetched_table(rows, marker.incarnation, marker.dimensions)
        return record_schema(0).empty_table()

    async def search(self, index: str, query: Query) -> pa.Table:
        namespace = _namespace(index)
        terms = filter_terms(query.filter)
        with contextlib.suppress(IndexLost):
            async with self._call(index) as opened:
                marker = await _marker(opened.plane, index)
                if marker is not None and len(query.vector) != marker.dimensions:
                    raise DimensionMismatch(index, held=marker.dimensions, got=len(query.vector))
                if marker is None or query.k < 1 or not query.vector.any():
                    return found_table([])
                vector = unit_rows(query.vector[None], opened.metric)[0]
                wanted = searchable(marker.incarnation, terms)
                k = min(query.k, _MAX_K)
                found = await opened.plane.search(namespace, vector, k, wanted)
                return found_table(found.records)
        return found_table([])

    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        namespace = _namespace(index)
        with contextlib.suppress(IndexLost):
            async with self._call(index) as opened:
                marker = await _marker(opened.plane, index)
            if marker is None:
                return
            pages = opened.plane.ids(namespace, of_index(marker.incarnation))
            while True:
                async with self._call(index):
                    page = await anext(pages, None)
                if page is None:
                    return
                if page:
                    yield page

    async def optimize(self, index: str) -> None:
        """Pinecone does it all by itself."""
        _namespace(index)

    async def dimensions(self, index: str) -> int | None:
        _namespace(index)
        with contextlib.suppress(IndexLost):
            async with self._call(index) as opened:
                return opened.facts.dimensions
        return None

    @contextlib.asynccontextmanager
    async def _call(self, index: str) -> "AsyncGenerator[_Opened]":
        with translated(index):
            async with asyncio.timeout(self._timeout):
                async with self._opening:
                    if self._opened is None:
                        self._opened = await self._open(index)
                yield self._opened

    async def _open(self, index: str) -> "_Opened":
        if not self._key:
            fix = "set VECTORFLOW_PINECONE__KEY, or send the key with the request"
            raise KeyRefused("there is no key for Pinecone", fix=fix)
        if self._index is None:
            self._index = data_plane(self._host, self._key, self._timeout)
        url = base_url(self._host) if is_local(self._host) else CONTROL
        async with control_plane(url, self._key, self._timeout) as control:
            facts = await look(control, self._index, index)
        return _Opened(facts=facts, plane=facts.plane(self._index))

    async def _create(self, index: str, marker: Marker) -> Marker:
        async with self._call(index) as opened:
            began = time.monotonic()
            held = await _marker(opened.plane, index)
            if held is not None and held.ledger != marker.ledger:
                return held
            if (dimensions := opened.facts.dimensions) != marker.dimensions:
                raise DimensionMismatch(index, held=dimensions, got=marker.dimensions)
            if held is not None and held.incarnation == marker.incarnation:
                return held
            if held is not None:
                with contextlib.suppress(NotFoundError):
                    await opened.plane.purge(
                        _namespace(index), of_other_incarnations(marker.incarnation)
                    )
            return await self._mark(opened.plane, index, marker, held, began)

    async def _mark(
        self, plane: Plane, index: str, marker: Marker, held: Marker | None, began: float
    ) -> Marker:
        """Write a marker over `held`, and give the one that stays.

        Pinecone has no compare-and-set. The last of several writers wins, and all of them give
        its marker: each waits much longer than it took from looking to seeing its own write, so
        that whoever looked before has written by then. One that takes far longer than the others
        may still come later; its marker then makes the owner's next job fail, not lose records.
        """
        await plane.upsert(_MARKERS, [_marking(index, marker)])
        while (await _marker(plane, index)) in {None, held}:  # noqa: ASYNC110 - nothing calls us
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(max(self._settle, 3 * (time.monotonic() - began)))
        return await _marker(plane, index) or marker


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    facts: Facts
    plane: Plane

    @property
    def metric(self) -> str:
        return self.facts.metric


async def find_host(
    control_url: str,
    key: str,
    index_name: str,
    timeout: float,  # noqa: ASYNC109 - as everywhere in this package
) -> str:
    """Give the host of a Pinecone index by its name, for `pinecone://HOST`.

    Raises:
        NotFound: The key's project has no index of that name.
        KeyRefused: The key is wrong, or may not look.
        IndexRefused: The index cannot hold our records.
    """
    with translated(index_name):
        async with (
            asyncio.timeout(timeout),
            control_plane(control_url, key, timeout) as control,
        ):
            try:
                model = await control.indexes.describe(index_name)
            except NotFoundError as error:
                raise NotFound(
                    f"Pinecone has no index {index_name!r} in the project of this key",
                    fix="make it there first, with the dimension of the model",
                ) from error
    facts_of(model)
    if not (host := bare_host(model)):
        raise Unavailable(f"Pinecone's index {index_name!r} is not ready yet")
    return host


def _namespace(index: str) -> str:
    """Give the namespace of an index; that of `default` is Pinecone's default one."""
    check_index_name(index)
    if index.startswith(_RESERVED):
        raise InvalidInput(f"index name {index!r} is kept for VectorFlow", fix="use another name")
    return "" if index == "default" else index


def _parts(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _marking(index: str, marker: Marker) -> Written:
    vector = vector_json(unit_vector(marker.dimensions))
    fields: dict[str, object] = {_MARKER: canonical_json(asdict(marker))}
    return Written(row=0, id=index, vector=vector, fields=fields, size=0)


async def _marker(plane: Plane, index: str) -> Marker | None:
    try:
        found = await plane.fetch(_MARKERS, [index])
    except NotFoundError:
        return None
    return Marker(**json.loads(str(found[0].fields[_MARKER]))) if found else None
