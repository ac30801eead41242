"""Export: records with their vectors, of a job or of an index, a bounded table at a time."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorflow.domain.columns import hashes, integers, strings
from vectorflow.domain.documents import canonical_json
from vectorflow.domain.manifests import SCHEMA, Part, joined_metadata
from vectorflow.domain.records import Matrix, matrix_of, vector_column
from vectorflow.errors import Conflict, NotFound
from vectorflow.ledger import exports, reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.exports import Exported, LiveVersion
from vectorflow.ledger.reads import JobView
from vectorflow.ledger.slices import slices
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service.part_files import read_parts
from vectorflow.service.vector_files import VectorFiles

LOOK_SECONDS = 0.25
"""Between two looks at a job that runs."""

FLOATS_AT_ONCE = 1 << 20
"""Of the vectors of one table: 4 MB."""

COLUMNS = [
    "position", "start", "end", "input_hash", "record_id", "text", "page", "headings", "extra",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the records of an index are read from."""

    database: Database
    blobs: BlobStore
    index: Exported
    store: Callable[[], Awaitable[VectorStore]]
    """Opens the store of the index; asked only for vectors that no vector file has."""


def export_schema(dimensions: int) -> pa.Schema:
    """Columns of an export.

    `document` is the external id; `start` and `end` are characters of its text; `metadata` is a
    JSON object.
    """
    fields: list[pa.Field[Any]] = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("page", pa.int32()),
        pa.field("headings", pa.list_(pa.string()), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
    ]
    return pa.schema(fields)


async def export_job(
    origin: Origin, *, tenant: str, job: int, wait: bool
) -> AsyncGenerator[pa.Table]:
    """Give the live records of the documents of a job; with `wait` until the job has ended.

    Documents come in the order in which they were accepted; those that go live meanwhile come as
    they do. An empty table says that there is nothing new yet.

    Raises:
        NotFound: A vector is kept nowhere any more.
        Conflict: A document was replaced after some of its records had been given; or the job is
            paused, and all there is has been given.
    """
    records = _Records(origin)
    async with aclosing(_versions_of(origin.database, tenant, job, wait=wait)) as versions:
        async for ids in versions:
            async with aclosing(records.of(ids)) as tables:
                async for table in tables:
                    yield table
            if not ids:
                yield records.nothing


async def export_index(
    origin: Origin, *, scope: str | None = None, external_ids: Sequence[str] | None = None
) -> AsyncGenerator[pa.Table]:
    """Give the live records of an index: of one scope, of some documents, as far as there are any.

    Of a document that is replaced before its turn comes, the new version is given, at the end.

    Raises:
        NotFound: A vector is kept nowhere any more.
        Conflict: A document was replaced after some of its records had been given.
    """
    find = partial(
        exports.live_of_index, index=origin.index.id, scope=scope, external_ids=external_ids
    )
    records = _Records(origin)
    ids = await origin.database.read(find)
    while ids:
        async with aclosing(records.of(ids)) as tables:
            async for table in tables:
                yield table
        ids = await origin.database.read(partial(exports.live_instead, of=records.replaced))
        records.replaced = []


async def _versions_of(
    database: Database, tenant: str, job: int, *, wait: bool
) -> AsyncGenerator[Sequence[int]]:
    """Give ids of live versions, each once; none where a look found nothing new."""
    given = _Given()
    while True:
        view = await database.read(partial(reads.job, tenant=tenant, id=job))
        opened = await database.read(partial(exports.first_open, job=job))
        before, last = len(given.ids), given.floor
        while ids := await database.read(partial(exports.live_of_job, job=job, after=last)):
            yield given.fresh(ids)
            last = ids[-1]
        if view.state.ended or not wait:
            break
        if view.paused:
            raise _paused(view)
        if len(given.ids) == before:
            yield []
        if opened is not None or view.docs_total is not None:
            given.settle(last if opened is None else opened - 1)
        await asyncio.sleep(LOOK_SECONDS)
    if found := await database.read(partial(exports.live_before_job, job=job)):
        yield found


def _paused(view: JobView) -> Conflict:
    """Say why no more comes for now; it may be days until somebody mends it."""
    why, then = (view.paused or {}).get("message"), (view.paused or {}).get("fix")
    message = f"job {view.id} is paused: {why}"
    return Conflict(message, fix=f"{then}; after that ask for the vectors again")


@dataclass(slots=True)
class _Given:
    """Versions of a job that were given: all up to `floor` that ever will be, and some above."""

    floor: int = 0
    ids: set[int] = field(default_factory=set[int])

    def fresh(self, ids: Sequence[int]) -> list[int]:
        """Leave out those that were given, and note the others."""
        new = [key for key in ids if key not in self.ids]
        self.ids.update(new)
        return new

    def settle(self, floor: int) -> None:
        """Take in that nothing up to `floor` is open any more."""
        self.floor = floor
        self.ids = {key for key in self.ids if key > floor}


class _Some(NamedTuple):
    """Parts that are read together, and whose they are."""

    versions: Sequence[LiveVersion]
    parts: Sequence[tuple[int, Part]]
    """Place of the version, and one of its parts."""


class _Records:
    """Makes tables of versions, one after the other."""

    def __init__(self, origin: Origin) -> None:
        index = origin.index
        self._origin = origin
        self._files = VectorFiles(origin.database, origin.blobs, index.dimensions)
        self._rows = max(64, min(1024, FLOATS_AT_ONCE // index.dimensions))
        """Of one table."""
        self._given = 0
        """Version of the last record given: the only one of which more may have to come."""
        self.replaced: list[int] = []
        """Versions that were left out."""
        self.nothing = export_schema(index.dimensions).empty_table()

    async def of(self, ids: Sequence[int]) -> AsyncGenerator[pa.Table]:
        """Give the records of these versions; those that are not live any more are left out."""
        for few in slices(ids):
            versions = await self._origin.database.read(partial(exports.live_versions, ids=few))
            await self._files.learn({version.job for version in versions})
            replaced: set[int] = set()
            for some in _gathered(versions, self._rows):
                rows = await self._read(some, replaced)
                for start in range(0, len(rows), self._rows):
                    table = await self._table(rows.slice(start, self._rows), versions, replaced)
                    if len(table):
                        yield table
            given = {version.id for owner, version in enumerate(versions) if owner not in replaced}
            self.replaced += [key for key in few if key not in given]

    async def _read(self, some: _Some, replaced: set[int]) -> pa.Table:
        """Read manifest rows; `owner` is the place of their version."""
        wanted = [(owner, part) for owner, part in some.parts if owner not in replaced]
        try:
            rows = await read_parts(self._origin.blobs, [part for _, part in wanted], COLUMNS)
        except NotFound:
            owners = {owner for owner, _ in wanted}
            if not (gone := await self._replaced(some.versions, owners)):
                raise self._lost(some.versions[min(owners)]) from None
            replaced |= gone
            return await self._read(some, replaced)
        if rows is None:
            return _no_rows()
        column = [owner for owner, part in wanted for _ in range(part.rows)]
        return rows.append_column("owner", pa.array(column, pa.int32()))

    async def _table(
        self, rows: pa.Table, versions: Sequence[LiveVersion], replaced: set[int]
    ) -> pa.Table:
        """Add vectors and what the ledger knows to manifest rows."""
        rows = _without(rows, replaced)
        matrix, found = await self._vectors(rows, versions)
        if not found.all():
            lost = set(np.asarray(rows["owner"])[~found].tolist())
            gone = await self._replaced(versions, lost)
            if gone != lost:
                raise self._lost(versions[min(lost - gone)])
            replaced |= gone
            kept = ~np.isin(np.asarray(rows["owner"]), list(gone))
            rows, matrix = rows.filter(pa.array(kept)), matrix[kept]
        if len(rows):
            self._given = versions[integers(rows, "owner")[-1]].id
        return _joined(rows, versions, matrix)

    async def _vectors(
        self, rows: pa.Table, versions: Sequence[LiveVersion]
    ) -> tuple[Matrix, NDArray[np.bool_]]:
        """Find the vectors of rows, and say which were found: in files first, then in the store."""
        keys, index = hashes(rows, "input_hash"), self._origin.index
        vectors = await self._files.find(keys)
        if index.delivers and not vectors.keys() >= set(keys):
            jobs = {versions[owner].job for owner in integers(rows, "owner")}
            await self._files.learn(jobs, at_once=True)
            vectors = await self._files.find(keys)
        matrix = np.zeros((len(keys), index.dimensions), dtype=np.float32)
        found = np.array([key in vectors for key in keys], dtype=np.bool_)
        for place in np.flatnonzero(found):
            matrix[place] = vectors[keys[place]]
        if not index.delivers and not found.all():
            await self._fetch(strings(rows, "record_id"), matrix, found)
        return matrix, found

    async def _fetch(self, ids: list[str], matrix: Matrix, found: NDArray[np.bool_]) -> None:
        """Fill in from the store what was not found."""
        index = self._origin.index
        missing = {ids[place]: place for place in np.flatnonzero(~found).tolist()}
        store = await self._origin.store()
        stored = await store.fetch(index.name, list(missing))
        places = [missing[name] for name in strings(stored, "id")]
        matrix[places] = matrix_of(stored["vector"], index.dimensions)
        found[places] = True

    async def _replaced(self, versions: Sequence[LiveVersion], owners: Iterable[int]) -> set[int]:
        """Tell which of these are not live any more.

        Raises:
            Conflict: Records of one of them were given already.
        """
        ids = {versions[owner].id: owner for owner in owners}
        live = await self._origin.database.read(partial(exports.still_live, ids=list(ids)))
        if self._given in ids.keys() - live:
            name = versions[ids[self._given]].external_id
            message = f"document {name!r} was replaced while its records were read"
            raise Conflict(message, fix="ask for the vectors again")
        return {owner for key, owner in ids.items() if key not in live}

    def _lost(self, version: LiveVersion) -> NotFound:
        name = version.external_id
        if self._origin.index.delivers:
            message = f"the vectors of document {name!r} are not kept any more"
            fix = "send it again; VECTORFLOW_RETENTION__VECTORS_HOURS says how long they are kept"
        else:
            message = f"records of document {name!r} are missing in the store"
            fix = "somebody deleted them there: embed the document into another index"
        return NotFound(message, fix=fix)


def _gathered(versions: Sequence[LiveVersion], rows: int) -> Iterator[_Some]:
    """Put parts together until they have so many rows: small documents share reads and fetches."""
    parts: list[tuple[int, Part]] = []
    count = 0
    for owner, version in enumerate(versions):
        for part in version.parts:
            parts.append((owner, part))
            count += part.rows
            if count >= rows:
                yield _Some(versions, parts)
                parts, count = [], 0
    if parts:
        yield _Some(versions, parts)


def _no_rows() -> pa.Table:
    return SCHEMA.empty_table().append_column("owner", pa.array([], pa.int32()))


def _without(rows: pa.Table, owners: set[int]) -> pa.Table:
    if not owners:
        return rows
    return rows.filter(pa.array(~np.isin(np.asarray(rows["owner"]), list(owners))))


def _joined(rows: pa.Table, versions: Sequence[LiveVersion], matrix: Matrix) -> pa.Table:
    owners = [versions[owner] for owner in integers(rows, "owner")]
    shared = {version.id: canonical_json(dict(version.metadata)) for version in owners}
    extras: list[str | None] = rows["extra"].to_pylist()
    headings: list[str | None] = rows["headings"].to_pylist()
    columns = {
        "id": rows["record_id"],
        "document": [version.external_id for version in owners],
        "position": rows["position"],
        "start": rows["start"],
        "end": rows["end"],
        "page": rows["page"],
        "headings": [path.split(" > ") if path else [] for path in headings],
        "text": rows["text"],
        "metadata": [
            shared[version.id] if extra is None else joined_metadata(version.metadata, extra)
            for version, extra in zip(owners, extras, strict=True)
        ],
        "vector": vector_column(matrix),
    }
    return pa.table(columns, schema=export_schema(matrix.shape[1])).combine_chunks()
