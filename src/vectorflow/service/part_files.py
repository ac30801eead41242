"""Manifest parts and vector files in the blob store: Arrow IPC, zstd."""

import asyncio
import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa

from vectorflow.domain.columns import hashes, strings
from vectorflow.domain.manifests import (
    HASH_BYTES,
    ROWS_PER_BATCH,
    SCHEMA,
    BaseColumns,
    Part,
    as_hashes,
)
from vectorflow.domain.records import Matrix, matrix_of, vector_column
from vectorflow.ports.blob_store import BlobStore

_ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")


async def write_part(blobs: BlobStore, rows: pa.Table) -> str:
    """Write manifest rows as a part file and give its key."""
    return await _write(blobs, "manifests", rows)


async def read_part(blobs: BlobStore, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
    """Read the rows of one part, or some of their columns."""
    return await asyncio.to_thread(_read_rows, blobs, part, columns)


async def read_parts(
    blobs: BlobStore, parts: Sequence[Part], columns: Sequence[str]
) -> pa.Table | None:
    """Read columns of whole manifests, in order; None where they are empty."""
    tables = [await read_part(blobs, stretch, columns) for stretch in _stretches(parts)]
    return pa.concat_tables(tables) if tables else None


async def read_base(blobs: BlobStore, parts: Sequence[Part]) -> BaseColumns:
    """Read what planning needs of a manifest."""
    names = ["input_hash", "record_hash", "record_id", "first_version"]
    table = await read_parts(blobs, parts, names)
    if table is None:
        nothing = np.empty(0, dtype=f"V{HASH_BYTES}")
        return BaseColumns(nothing, nothing, np.empty(0, object), np.empty(0, np.int32))
    return BaseColumns(
        input_hash=as_hashes(hashes(table, "input_hash")),
        record_hash=as_hashes(hashes(table, "record_hash")),
        record_id=np.array(strings(table, "record_id"), dtype=object),
        first_version=np.asarray(table["first_version"], dtype=np.int32),
    )


async def read_ids(blobs: BlobStore, parts: Sequence[Part]) -> list[str]:
    """Read the record ids of a manifest."""
    table = await read_parts(blobs, parts, ["record_id"])
    return [] if table is None else strings(table, "record_id")


async def write_vectors(blobs: BlobStore, vectors: Mapping[bytes, Matrix]) -> str:
    """Write vectors by input hash as a vector file and give its key."""
    table = pa.table(
        {
            "input_hash": pa.array(list(vectors), pa.binary(HASH_BYTES)),
            "vector": vector_column(np.stack(list(vectors.values()))),
        }
    )
    return await _write(blobs, "vectors", table)


async def read_vectors(
    blobs: BlobStore, keys: Sequence[str], dimensions: int
) -> dict[bytes, Matrix]:
    """Read vector files: vectors by input hash."""
    found: dict[bytes, Matrix] = {}
    for key in keys:
        data = await blobs.read(key)
        found |= await asyncio.to_thread(_decoded, data, dimensions)
    return found


def _decoded(data: bytes, dimensions: int) -> dict[bytes, Matrix]:
    table = pa.ipc.open_file(io.BytesIO(data)).read_all()
    rows = matrix_of(table["vector"], dimensions)
    return dict(zip(hashes(table, "input_hash"), rows, strict=True))


def _stretches(parts: Sequence[Part]) -> Iterator[Part]:
    """Join parts that lie side by side in one file: its rows are unpacked a thousand at a time."""
    joined: Part | None = None
    for part in parts:
        if joined and (part.blob, part.row_start) == (joined.blob, joined.row_start + joined.rows):
            joined = replace(joined, rows=joined.rows + part.rows)
            continue
        if joined:
            yield joined
        joined = part
    if joined:
        yield joined


async def _write(blobs: BlobStore, kind: str, table: pa.Table) -> str:
    key = f"{kind}/{uuid.uuid4().hex}.arrow"
    await blobs.put(key, _encoded(table))
    return key


def _encoded(table: pa.Table) -> Iterator[bytes]:
    """Encode when it is asked for: in the thread that writes it."""
    yield _encode(table)


def _encode(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema, options=_ZSTD) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=ROWS_PER_BATCH)
    return buffer.getvalue()


def _read_rows(blobs: BlobStore, part: Part, columns: Sequence[str] | None) -> pa.Table:
    """Read only the record batches that hold the rows asked for."""
    if part.rows == 0:
        return SCHEMA.empty_table().select(list(columns or SCHEMA.names))
    end = part.row_start + part.rows
    with blobs.open(part.blob) as file:
        reader = pa.ipc.open_file(pa.PythonFile(_as_io(file), mode="r"), options=_only(columns))
        first = part.row_start // ROWS_PER_BATCH
        last = min((end - 1) // ROWS_PER_BATCH, reader.num_record_batches - 1)
        batches = [reader.get_batch(number) for number in range(first, last + 1)]
    table = pa.Table.from_batches(batches)
    return table.slice(part.row_start - first * ROWS_PER_BATCH, part.rows)


def _only(columns: Sequence[str] | None) -> pa.ipc.IpcReadOptions:
    fields = [SCHEMA.get_field_index(name) for name in columns or ()]
    return pa.ipc.IpcReadOptions(included_fields=fields or None)


def _as_io(file: BinaryIO) -> io.IOBase:
    """Arrow's annotations name the class, though it takes any file object."""
    return cast("io.IOBase", file)
