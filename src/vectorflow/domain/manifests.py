"""The manifest: the columns of all chunks of one version, kept in parts.

A part file is Arrow IPC, zstd, in record batches of `ROWS_PER_BATCH` so that a slice can be read
without the rest. Small documents of one group share a file; a `Part` says which rows are whose.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorflow.domain.documents import canonical_json

MAX_PART_CHUNKS = 4096
MAX_PART_BYTES = 4 << 20
"""Bytes of chunk text after which a part is committed."""

ROWS_PER_BATCH = 1024

HASH_BYTES = 16

_FIELDS: list["pa.Field[Any]"] = [
    pa.field("position", pa.int32(), nullable=False),
    pa.field("start", pa.int64(), nullable=False),
    pa.field("end", pa.int64(), nullable=False),
    pa.field("tokens", pa.int32(), nullable=False),
    pa.field("input_hash", pa.binary(HASH_BYTES), nullable=False),
    pa.field("record_hash", pa.binary(HASH_BYTES), nullable=False),
    pa.field("record_id", pa.string(), nullable=False),
    pa.field("first_version", pa.int32(), nullable=False),
    pa.field("vector_of", pa.string()),
    pa.field("text", pa.string(), nullable=False),
    pa.field("page", pa.int32()),
    pa.field("headings", pa.string()),
    pa.field("extra", pa.string()),
]

SCHEMA = pa.schema(_FIELDS, metadata={"manifest": "1"})
"""Columns of manifest v1.

`start` and `end` count characters of the document. `vector_of` is the record of the base version
whose vector serves this new record too; null means embed. `first_version` is the number of the
version in which the record first appeared. `headings` is the path joined by ` > `; `extra` is JSON.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of one version's manifest: rows of a part file."""

    number: int
    """Counted from 0."""
    blob: str
    row_start: int
    rows: int
    resume_at: int
    """Characters of the document that this part and those before it cover."""


class ChunkHashes(NamedTuple):
    """Two hashes per chunk, in the order of the chunks."""

    inputs: list[bytes]
    """Of exactly what the embedder reads, prefix included."""
    records: list[bytes]
    """Of everything that is stored: input, text, field mapping, metadata."""


def hash_chunks(
    texts: Sequence[str],
    *,
    prefix: str,
    metadata: dict[str, object],
    fields: dict[str, str],
    extras: Sequence[str | None] = (),
) -> ChunkHashes:
    """Hash the chunks of one document. Position, offsets and page are in neither hash.

    `extras` is JSON that single chunks are stored with, None for most; empty means none at all.
    """
    shared = hashlib.blake2b(
        canonical_json([prefix, metadata, fields]).encode(), digest_size=32
    ).digest()
    lead = prefix.encode() + b"\0"
    inputs: list[bytes] = []
    records: list[bytes] = []
    for text, extra in zip(texts, extras or [None] * len(texts), strict=True):
        data = text.encode("utf-8", "surrogatepass")
        inputs.append(hashlib.blake2b(lead + data, digest_size=HASH_BYTES).digest())
        whole = hashlib.blake2b(shared + data, digest_size=HASH_BYTES)
        if extra is not None:
            whole.update(b"\0" + extra.encode())
        records.append(whole.digest())
    return ChunkHashes(inputs, records)


def record_id(
    incarnation: uuid.UUID, document: int, first_version: int, position: int, record_hash: bytes
) -> str:
    """Name a new record: UUIDv5, legal in every store, the same on a retry, never used twice.

    Written out here, since the library's takes five times as long.
    """
    name = f"{document}/{first_version}/{position}/{record_hash.hex()}"
    # SHA-1 is what UUIDv5 is made of.
    digest = bytearray(hashlib.sha1(incarnation.bytes + name.encode()).digest()[:16])  # noqa: S324
    digest[6] = (digest[6] & 0x0F) | 0x50
    digest[8] = (digest[8] & 0x3F) | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def joined_metadata(metadata: Mapping[str, object], extra: str) -> str:
    """Add what a validation said of a chunk to the metadata of its document, which wins."""
    added: dict[str, object] = json.loads(extra)
    return canonical_json(added | dict(metadata))


class BaseColumns(NamedTuple):
    """What planning reads of the live manifest: a row per chunk, in order."""

    input_hash: NDArray[np.void]
    record_hash: NDArray[np.void]
    record_id: NDArray[np.object_]
    first_version: NDArray[np.int32]


def as_hashes(hashes: Sequence[bytes]) -> NDArray[np.void]:
    """Pack 16-byte hashes into one sortable column."""
    return np.frombuffer(b"".join(hashes), dtype=f"V{HASH_BYTES}")
