"""The vector store in PostgreSQL, by the extension pgvector.

A table per index; the side table `vectorflow_indexes` holds the markers. Searches are exact: an
HNSW index makes writing a hundred times dearer and more, so when to have one is left to the user
(docs/reference/vector-stores.md). A write is small enough to end in time beside one.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any, ClassVar, LiteralString, Self
from urllib.parse import quote

import numpy as np
import psycopg
import pyarrow as pa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Composed, Identifier, Literal

from vectorflow.adapters._pgvector_errors import translated
from vectorflow.domain.records import Matrix, record_schema, vector_column
from vectorflow.domain.store_rules import (
    check_index_name,
    check_records,
    distinct_ids,
    filter_terms,
    strings_of,
)
from vectorflow.errors import (
    DimensionMismatch,
    IndexLost,
    InvalidInput,
    KeyRefused,
    VectorFlowError,
)
from vectorflow.ports.vector_store import Marker, Query, Upkeep, VectorStore

_Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_MAX_NAME = 63
_CONNECTIONS, _IDS_PER_STATEMENT = 4, 10_000
_LOCK = 0x7665_6366  # what creators of indexes take turns by
_MAX_VECTOR_INDEX = 2_000  # dimensions that pgvector indexes; of half precision twice as many

_MARKERS = """
CREATE TABLE IF NOT EXISTS vectorflow_indexes (
    name text PRIMARY KEY, ledger text NOT NULL, fingerprint text NOT NULL,
    incarnation text NOT NULL, dimensions int NOT NULL
)"""
_SELECT_MARKER = """
SELECT ledger, fingerprint, incarnation, dimensions FROM vectorflow_indexes
WHERE name = %s AND to_regclass(quote_ident(name)) IS NOT NULL"""
_INSERT_MARKER = """
INSERT INTO vectorflow_indexes (name, ledger, fingerprint, incarnation, dimensions)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET ledger = excluded.ledger,
    fingerprint = excluded.fingerprint, incarnation = excluded.incarnation,
    dimensions = excluded.dimensions"""
_CREATE = """
CREATE TABLE {} (
    id uuid PRIMARY KEY, vector vector({}) NOT NULL, text text NOT NULL, document text NOT NULL,
    version int NOT NULL, metadata jsonb NOT NULL
)"""
_UPSERT = """
INSERT INTO {} SELECT * FROM pg_temp.vectorflow_incoming ORDER BY id
ON CONFLICT (id) DO UPDATE SET vector = excluded.vector, text = excluded.text,
    document = excluded.document, version = excluded.version, metadata = excluded.metadata"""
_FETCH = """
SELECT id::text, vector, text, document, version, metadata::text FROM {}
WHERE id = ANY(%s::uuid[])"""
_SEARCH = """
SELECT id::text, text, document, version, metadata::text, 1 - (vector <=> %s::vector)
FROM {} WHERE metadata @> %s::jsonb ORDER BY {} <=> %s::{} LIMIT %s"""


class PgVectorStore(VectorStore, Upkeep):
    """`postgresql://user:password@host:port/database`; TLS unless the host is this one."""

    batch_records: ClassVar[int] = 1_000

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self.locator(url)
        self._url = url
        self._timeout = timeout
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(_CONNECTIONS)

    @classmethod
    def locator(cls, url: str) -> str:
        try:
            given = conninfo_to_dict(url if _is_postgresql(url) else "")
            host = str(given.get("host", "localhost"))
            port, database = int(str(given.get("port", 5432))), str(given["dbname"])
        except (psycopg.ProgrammingError, KeyError, ValueError):
            fix = "write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, percent-encoded"
            # The cause may quote the password.
            raise InvalidInput("not the address of a PostgreSQL database", fix=fix) from None
        if host.startswith("/"):
            return f"postgresql:///{quote(database, safe='')}?host={quote(host)}&port={port}"
        name = f"[{host.lower()}]" if ":" in host else host.lower()
        return f"postgresql://{name}:{port}/{quote(database, safe='')}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def marker(self, index: str) -> Marker | None:
        _check_name(index)
        async with self._transaction(index) as connection:
            return await _marker(connection, index)

    async def create(self, index: str, marker: Marker) -> Marker:
        _check_name(index)
        async with self._transaction(index) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            await connection.execute(_MARKERS)
            held = await _marker(connection, index)
            if held is None or _is_stale(held, marker):
                await _create_table(connection, index, marker, replace=held is not None)
                return marker
        if held.ledger == marker.ledger and held.dimensions != marker.dimensions:
            raise DimensionMismatch(index, held=held.dimensions, got=marker.dimensions)
        return held

    async def upsert(self, index: str, records: pa.Table) -> None:
        _check_name(index)
        async with self._transaction(index) as connection:
            if (marker := await _marker(connection, index)) is None:
                raise IndexLost(f"index {index!r} is not there")
            vectors = check_records(index, records, marker.dimensions)
            await connection.execute(
                _sql("CREATE TEMP TABLE vectorflow_incoming (LIKE {}) ON COMMIT DROP", index)
            )
            async with (
                connection.cursor() as cursor,
                cursor.copy("COPY pg_temp.vectorflow_incoming FROM STDIN (FORMAT BINARY)") as copy,
            ):
                for row in _binary_rows(records, vectors):
                    await copy.write_row(row)
            await connection.execute(_sql(_UPSERT, index))

    async def delete(self, index: str, ids: Sequence[str]) -> None:
        _check_name(index)
        distinct = distinct_ids(ids)
        async with self._transaction(index) as connection:
            if await _marker(connection, index):
                for start in range(0, len(distinct), _IDS_PER_STATEMENT):
                    some = distinct[start : start + _IDS_PER_STATEMENT]
                    await connection.execute(
                        _sql("DELETE FROM {} WHERE id = ANY(%s::uuid[])", index), [some]
                    )

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        _check_name(index)
        distinct = distinct_ids(ids)
        async with self._transaction(index) as connection:
            if (marker := await _marker(connection, index)) is None:
                return record_schema(0).empty_table()
            cursor = connection.cursor(binary=True)
            await cursor.execute(_sql(_FETCH, index), [distinct])
            rows = await cursor.fetchall()
        return _fetched(rows, marker.dimensions)

    async def search(self, index: str, query: Query) -> pa.Table:
        _check_name(index)
        filter_terms(query.filter)
        async with self._transaction(index) as connection:
            marker = await _marker(connection, index)
            if marker is None or query.k < 1:
                return _scored([])
            if len(query.vector) != marker.dimensions:
                raise DimensionMismatch(index, held=marker.dimensions, got=len(query.vector))
            cursor = connection.cursor(binary=True)
            # Else an HNSW index finds 40 at most, and fewer where a filter drops some of them.
            await cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            width = min(1_000, max(40, query.k))
            await cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(width)])
            vector = "[" + ",".join(map(repr, query.vector.tolist())) + "]"
            wanted = json.dumps(dict(query.filter))
            statement = _sql(_SEARCH, index, *_indexed(marker.dimensions))
            await cursor.execute(statement, [vector, wanted, vector, query.k])
            return _scored(await cursor.fetchall())

    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        _check_name(index)
        page = ["00000000-0000-0000-0000-000000000000"]
        while page:
            async with self._transaction(index) as connection:
                if await _marker(connection, index) is None:
                    return
                statement = "SELECT id::text FROM {} WHERE id > %s::uuid ORDER BY id LIMIT %s"
                found = await connection.execute(
                    _sql(statement, index), [page[-1], _IDS_PER_STATEMENT]
                )
                page = [row[0] for row in await found.fetchall()]
            if page:
                yield page

    async def optimize(self, index: str) -> None:
        """PostgreSQL's own autovacuum does it all."""
        _check_name(index)

    @contextlib.asynccontextmanager
    async def _transaction(self, index: str) -> AsyncGenerator[_Connection]:
        with translated(index):
            async with asyncio.timeout(self._timeout), self._free:
                connection = self._idle.pop() if self._idle else await self._connect()
                try:
                    async with connection.transaction():
                        await self._limit(connection)
                        yield connection
                except VectorFlowError:
                    self._idle.append(connection)
                    raise
                except BaseException:
                    await connection.close()
                    await self.__aexit__()  # what broke this one may have broken all
                    raise
                self._idle.append(connection)

    async def _connect(self) -> _Connection:
        options = conninfo_to_dict(self._url)
        wanted = {"connect_timeout": str(max(2, int(self._timeout)))}
        if not (_is_local(options) or "sslmode" in options or "PGSSLMODE" in os.environ):
            wanted["sslmode"] = "require"
        address = make_conninfo(self._url, **wanted)
        return await psycopg.AsyncConnection.connect(
            address, autocommit=True, prepare_threshold=None
        )

    async def _limit(self, connection: _Connection) -> None:
        """Bound what follows in a transaction; of the session nothing is kept behind a pooler.

        Raises:
            KeyRefused: This user may use no schema: to it all tables seem to be gone.
        """
        milliseconds = str(int(self._timeout * 1000))
        limit = "SELECT set_config('statement_timeout', %s, true), current_schema()"
        row = await (await connection.execute(limit, [milliseconds])).fetchone()
        if row and row[1] is None:
            fix = "grant USAGE on the schema of the store to the user in its address"
            raise KeyRefused("this user of PostgreSQL may use no schema", fix=fix)


def _is_postgresql(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _is_local(options: dict[str, Any]) -> bool:
    host = str(options.get("hostaddr") or options.get("host") or os.environ.get("PGHOST", "/"))
    if host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_name(index: str) -> None:
    check_index_name(index, _MAX_NAME)
    if index.startswith("vectorflow_"):
        raise InvalidInput(f"index name {index!r} is kept for VectorFlow", fix="use another name")


def _sql(statement: LiteralString, index: str, *more: Composed | SQL | Identifier) -> Composed:
    return SQL(statement).format(Identifier(index), *more)


def _indexed(dimensions: int) -> tuple[Composed, Composed]:
    """The expression that HNSW indexes, and its type."""
    if dimensions <= _MAX_VECTOR_INDEX:
        return Composed([SQL("vector")]), Composed([SQL("vector")])
    return SQL("vector::halfvec({})").format(Literal(dimensions)), Composed([SQL("halfvec")])


async def _marker(connection: _Connection, index: str) -> Marker | None:
    try:
        row = await (await connection.execute(_SELECT_MARKER, [index])).fetchone()
    except psycopg.errors.UndefinedTable:
        return None  # nobody has created an index yet
    names = ("ledger", "fingerprint", "incarnation", "dimensions")
    return Marker(**dict(zip(names, row, strict=True))) if row else None


def _is_stale(held: Marker, wanted: Marker) -> bool:
    return held.ledger == wanted.ledger and held.incarnation != wanted.incarnation


async def _create_table(
    connection: _Connection, index: str, marker: Marker, *, replace: bool
) -> None:
    if replace:
        await connection.execute(_sql("DROP TABLE {}", index))
    await connection.execute(_sql(_CREATE, index, Composed([Literal(marker.dimensions)])))
    facts = [marker.ledger, marker.fingerprint, marker.incarnation, marker.dimensions]
    await connection.execute(_INSERT_MARKER, [index, *facts])


def _binary_rows(records: pa.Table, vectors: Matrix) -> Iterator[list[bytes | str]]:
    """Rows of a binary COPY, in PostgreSQL's and pgvector's wire formats."""
    head = struct.pack(">hh", vectors.shape[1], 0)
    numbers = vectors.astype(">f4")
    columns = (strings_of(records[name]) for name in ("id", "text", "document", "metadata"))
    versions = records["version"].to_pylist()
    for row, (record, text, document, metadata) in enumerate(zip(*columns, strict=True)):
        yield [
            bytes.fromhex(record.replace("-", "")),
            head + numbers[row].tobytes(),
            text,
            document,
            struct.pack(">i", versions[row]),
            b"\x01" + metadata.encode(),
        ]


def _fetched(rows: list[tuple[Any, ...]], dimensions: int) -> pa.Table:
    schema = record_schema(dimensions)
    if not rows:
        return schema.empty_table()
    ids, vectors, *others = zip(*rows, strict=True)
    numbers = np.frombuffer(b"".join(vector[4:] for vector in vectors), ">f4")
    matrix = numbers.astype(np.float32).reshape(-1, dimensions)
    return pa.table([pa.array(ids), vector_column(matrix), *map(pa.array, others)], schema=schema)


def _scored(rows: list[tuple[Any, ...]]) -> pa.Table:
    schema = record_schema(1).remove(1).append(pa.field("score", pa.float64()))
    names = schema.names
    found = [dict(zip(names, row, strict=True)) for row in rows if np.isfinite(row[-1])]
    return pa.Table.from_pylist(found, schema=schema)
