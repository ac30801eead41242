"""The vector store in a local directory, by LanceDB: no server; any process may open it.

A table per index. Its marker is metadata of the table's schema, so that creating, emptying and
marking are one commit each. Writers of one index take turns by a lock on the table's directory:
LanceDB itself lets two writers insert the same new id (lance-format/lance#8949).
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Sequence,
)
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self, TypedDict, TypeVar, cast

import numpy as np
import pyarrow as pa

from vectorflow.adapters._folder_lock import LockedWork, try_lock, unlocked_after
from vectorflow.adapters._lancedb_errors import Conflict, is_missing, translated
from vectorflow.adapters._lancedb_import import import_lancedb
from vectorflow.domain.documents import canonical_json
from vectorflow.domain.known_ids import KnownIds
from vectorflow.domain.records import record_schema
from vectorflow.domain.store_rules import (
    check_index_name,
    check_records,
    distinct_ids,
    filter_terms,
    metadata_terms,
    strings_of,
)
from vectorflow.errors import (
    DimensionMismatch,
    IndexLost,
    IndexRefused,
    InvalidInput,
    MissingExtra,
)
from vectorflow.ports.vector_store import Marker, Query, Upkeep, VectorStore

if TYPE_CHECKING:
    from lancedb import AsyncConnection, AsyncTable

_T = TypeVar("_T")

_SCHEME, _MARKER = "lancedb://", b"vectorflow"
_TERMS = pa.field("terms", pa.list_(pa.string()), nullable=False)
"""Beside a record: its metadata as `key=json`, for filters."""
_COLUMNS = ["id", "vector", "text", "document", "version", "metadata"]
_IDS_PER_STATEMENT = 5_000
_TRIES = 5
_KEEP_VERSIONS = timedelta(minutes=2)  # for readers that are still at work on an older one
_OPTIMIZE_TIMEOUTS = 20  # compaction may take this many times as long as any other call
_MAX_COMMITS, _MAX_FILES = 250, 30
_MIN_WASTE = 16 << 20  # bytes of old files that nobody minds
_INDEX_ROWS = 50_000  # from here on an index of the ids pays off for `fetch` and `delete`
_MAX_KNOWN = 8_000_000  # rows up to which the ids are kept in memory, 8 bytes each


class LanceDbVectorStore(VectorStore, Upkeep):
    """`lancedb:///absolute/path` or `lancedb://relative/path`: a directory on a local disk."""

    batch_records: ClassVar[int] = 5_000

    _db: "AsyncConnection"

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self._root = Path(self.locator(url).removeprefix(_SCHEME))
        self._timeout = timeout
        self._known: dict[str, _Known] = {}
        self._writes = LockedWork()

    @classmethod
    def locator(cls, url: str) -> str:
        path = url.removeprefix(_SCHEME)
        if path == url or not path:
            raise InvalidInput("not a LanceDB store", fix="write it as lancedb:///PATH")
        return _SCHEME + os.path.realpath(path)

    async def __aenter__(self) -> Self:
        try:
            library = await asyncio.to_thread(import_lancedb)
        except ImportError as error:
            raise MissingExtra("vector_stores", "lancedb", "local") from error
        with translated(self._root.name):
            # Zero: what another process wrote is seen by the next call.
            self._db = await library.connect_async(
                str(self._root), read_consistency_interval=timedelta(0)
            )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._writes.ended()

    async def marker(self, index: str) -> Marker | None:
        async def read(table: _Table) -> Marker | None:
            # A table whose files are gone is no index of ours any more: look at one row.
            await table.rows.query().select(["id"]).limit(1).to_arrow()
            return table.marker

        try:
            return await self._read(index, read, missing=None)
        except IndexLost:
            return None

    async def create(self, index: str, marker: Marker) -> Marker:
        check_index_name(index)
        with translated(index):
            await asyncio.to_thread(self._root.mkdir, parents=True, exist_ok=True)
        return await self._write(index, self._root, lambda _: self._create(index, marker))

    async def upsert(self, index: str, records: pa.Table) -> None:
        check_index_name(index)
        folder = self._folder(index)
        await self._write(index, folder, lambda lock: self._upsert(index, records, lock))

    async def delete(self, index: str, ids: Sequence[str]) -> None:
        check_index_name(index)
        conditions = list(_id_conditions(ids))
        with contextlib.suppress(IndexLost):
            folder = self._folder(index)
            await self._write(index, folder, lambda _: self._delete(index, conditions))

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        async def read(table: _Table) -> pa.Table:
            found = [
                await table.rows.query().where(condition).select(_COLUMNS).to_arrow()
                for condition in _id_conditions(ids)
            ]
            schema = record_schema(table.marker.dimensions)
            return pa.concat_tables([schema.empty_table(), *(part.cast(schema) for part in found)])

        return await self._read(index, read, missing=record_schema(0).empty_table())

    async def search(self, index: str, query: Query) -> pa.Table:
        terms = filter_terms(query.filter)

        async def read(table: _Table) -> pa.Table:
            held = table.marker.dimensions
            if len(query.vector) != held:
                raise DimensionMismatch(index, held=held, got=len(query.vector))
            nearest = table.rows.query().nearest_to(query.vector).distance_type("cosine")
            if terms:
                nearest = nearest.where(" AND ".join(f"array_has(terms, {_sql(t)})" for t in terms))
            columns = [name for name in _COLUMNS if name != "vector"]
            found = await nearest.limit(max(1, query.k)).select([*columns, "_distance"]).to_arrow()
            return _scored(found)

        found = self._read(index, read, missing=_NOTHING_FOUND)
        return (await found).slice(0, max(0, query.k))

    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        check_index_name(index)
        with translated(index):
            if table := await self._open(index):
                async for page in await table.rows.query().select(["id"]).to_batches():
                    yield strings_of(page["id"])

    async def optimize(self, index: str) -> None:
        """Compact where that pays; cheap where it does not, so that it may be called often.

        Holds up no writer: one that collides with it tries again.
        """
        check_index_name(index)
        with contextlib.suppress(Conflict, IndexLost), translated(index):
            async with asyncio.timeout(self._timeout * _OPTIMIZE_TIMEOUTS):
                # A folder of its own: the lock of the table's folder is for writers.
                lock = try_lock(self._folder(index) / "_versions")
                if lock is not None:
                    await unlocked_after(lock, self._optimize(index))

    def _folder(self, index: str) -> Path:
        return self._root / f"{index}.lance"

    async def _open(self, index: str) -> "_Table | None":
        """Open the newest version; None where the table is missing or not made by VectorFlow."""
        try:
            rows = await self._db.open_table(index)
            schema = await rows.schema()
        except (ValueError, RuntimeError) as error:
            if is_missing(error):
                return None
            raise
        marked = (schema.metadata or {}).get(_MARKER)
        return _Table(rows=rows, marker=Marker(**json.loads(marked))) if marked else None

    async def _read(
        self, index: str, read: "Callable[[_Table], Awaitable[_T]]", *, missing: _T
    ) -> _T:
        check_index_name(index)
        with translated(index):
            async with asyncio.timeout(self._timeout):
                for _ in range(_TRIES):
                    if (table := await self._open(index)) is None:
                        return missing
                    try:
                        return await read(table)
                    except (ValueError, RuntimeError) as error:
                        # `optimize` may remove the version that we had just begun to read.
                        if not is_missing(error):
                            raise
        raise IndexLost(f"files of index {index!r} are missing")

    async def _write(
        self, index: str, folder: Path, write: Callable[[int], Coroutine[object, object, _T]]
    ) -> _T:
        async def retried(lock: int) -> _T:
            for _ in range(_TRIES - 1):
                # Lost, too: `optimize` may remove the version that we had just begun to read.
                with contextlib.suppress(Conflict, IndexLost), translated(index):
                    return await write(lock)
            with translated(index):
                return await write(lock)

        with translated(index):
            async with asyncio.timeout(self._timeout):
                return await self._writes.run(folder, retried)

    async def _create(self, index: str, marker: Marker) -> Marker:
        held = await self._open(index)
        if held is None:
            return await self._create_table(index, marker, "create")
        if held.marker.ledger != marker.ledger:
            return held.marker
        if held.marker.incarnation != marker.incarnation:
            return await self._create_table(index, marker, "overwrite")
        if held.marker.dimensions != marker.dimensions:
            raise DimensionMismatch(index, held=held.marker.dimensions, got=marker.dimensions)
        return held.marker

    async def _create_table(
        self, index: str, marker: Marker, mode: Literal["create", "overwrite"]
    ) -> Marker:
        marked = {_MARKER: canonical_json(asdict(marker)).encode()}
        schema = record_schema(marker.dimensions).append(_TERMS).with_metadata(marked)
        try:
            await self._db.create_table(index, schema=schema, mode=mode)
        except ValueError as error:
            if "already exists" not in str(error):
                raise
            raise IndexRefused(
                f"table {index!r} was not made by VectorFlow", fix="use another index name"
            ) from error
        return marker

    async def _upsert(self, index: str, records: pa.Table, lock: int) -> None:
        if (table := await self._open(index)) is None:
            raise IndexLost(f"index {index!r} is not there")
        check_records(index, records, table.marker.dimensions)
        if len(records) == 0:
            return
        rows = _stored(records, table.marker.dimensions)
        ids = strings_of(rows["id"])
        known = await self._known_ids(index, table, lock)
        if known is None or known.may_hold_any(ids):
            merge = table.rows.merge_insert("id").use_index(False)  # slower with it, measured
            merge = merge.when_matched_update_all().when_not_matched_insert_all()
            version = (await merge.execute(rows)).version
        else:
            version = (await table.rows.add(rows)).version
        if os.fstat(lock).st_nlink == 0:
            raise IndexLost(f"the folder of index {index!r} was removed during a write")
        self._followed(index, version, ids)

    async def _delete(self, index: str, conditions: Sequence[str]) -> None:
        if table := await self._open(index):
            for condition in conditions:
                version = (await table.rows.delete(condition)).version
                self._followed(index, version, [])

    async def _known_ids(self, index: str, table: "_Table", lock: int) -> KnownIds | None:
        """Give the ids of all rows, read anew where another process has written."""
        identity = (table.marker.incarnation, os.fstat(lock).st_ino)
        version = await table.rows.version()
        known = self._known.pop(index, None)
        if known is None or known.table != identity or known.version != version:
            if await table.rows.count_rows() > _MAX_KNOWN:
                return None
            known = _Known(table=identity, version=version, ids=KnownIds())
            async for page in await table.rows.query().select(["id"]).to_batches():
                known.ids.add(strings_of(page["id"]))
        self._known[index] = known
        return known.ids

    def _followed(self, index: str, version: int, ids: Sequence[str]) -> None:
        """Take our own commit over into the known ids; forget them if another came between."""
        if (known := self._known.pop(index, None)) and version - known.version <= 1:
            known.ids.add(ids)
            self._known[index] = replace(known, version=version)

    async def _optimize(self, index: str) -> None:
        if (table := await self._open(index)) is None:
            return
        stats = cast("_Stats", await table.rows.stats())  # a dictionary, whatever its type says
        if await asyncio.to_thread(_is_due, self._folder(index), stats):
            await table.rows.optimize(cleanup_older_than=_KEEP_VERSIONS)
        if stats["num_rows"] >= _INDEX_ROWS and not await table.rows.list_indices():
            await table.rows.create_index("id", config=import_module("lancedb.index").BTree())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    rows: "AsyncTable"
    marker: Marker


class _Files(TypedDict):
    num_fragments: int
    lengths: dict[str, int]


class _Stats(TypedDict):
    num_rows: int
    total_bytes: int
    fragment_stats: _Files


@dataclass(slots=True, kw_only=True)
class _Known:
    """The ids of a table as of one version: where all ids of a write are new, it is an append.

    The cost of merging grows with the table, that of appending does not.
    """

    table: tuple[str, int]
    version: int
    ids: KnownIds


def _stored(records: pa.Table, dimensions: int) -> pa.Table:
    texts = strings_of(records["metadata"])
    terms_of = {text: metadata_terms(text) for text in set(texts)}
    terms = pa.array([terms_of[text] for text in texts], _TERMS.type)
    return records.cast(record_schema(dimensions)).append_column(_TERMS, terms)


def _scored(found: pa.Table) -> pa.Table:
    distances = np.asarray(found["_distance"], dtype=np.float64)
    records = found.drop_columns("_distance").replace_schema_metadata()
    return records.append_column(pa.field("score", pa.float64()), pa.array(1.0 - distances))


_NOTHING_FOUND = _scored(
    record_schema(0).remove(1).append(pa.field("_distance", pa.float32())).empty_table()
)


def _id_conditions(ids: Sequence[str]) -> Iterator[str]:
    """SQL conditions that together name all these ids."""
    distinct = distinct_ids(ids)
    for start in range(0, len(distinct), _IDS_PER_STATEMENT):
        some = distinct[start : start + _IDS_PER_STATEMENT]
        yield f"id IN ({','.join(map(_sql, some))})"


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _is_due(folder: Path, stats: "_Stats") -> bool:
    """Whether compacting pays: it writes all rows anew, until a file has a million of them.

    So it waits until most rows lie in many small files, or commits are many, or nothing has been
    written for a while and old files take room.
    """
    files = stats["fragment_stats"]
    scattered = 2 * files["lengths"]["max"] <= stats["num_rows"]
    commits = [path.stat().st_mtime for path in (folder / "_versions").iterdir()]
    idle = time.time() - max(commits) > 2 * _KEEP_VERSIONS.total_seconds()
    on_disk = sum(path.stat().st_size for path in (folder / "data").glob("*"))
    wasteful = on_disk > 1.25 * stats["total_bytes"] + _MIN_WASTE
    many = files["num_fragments"] > _MAX_FILES
    return (scattered and many) or len(commits) > _MAX_COMMITS or (idle and wasteful)
