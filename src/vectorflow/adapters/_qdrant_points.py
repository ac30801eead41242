"""Records as points of Qdrant.

A payload holds what clients of the v0 API read (`source_text`, `source_document`), the user's
metadata at its top for their own filters, and what only we read, under keys that begin with `vf_`.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from vectorflow.domain.records import Matrix, record_schema, vector_column
from vectorflow.domain.store_rules import metadata_terms, strings_of

TEXT, DOCUMENT = "source_text", "source_document"
VERSION, METADATA, TERMS, EXACT = "vf_version", "vf_metadata", "vf_terms", "vf_vector"
SHOWN = (TEXT, DOCUMENT, VERSION, METADATA)

_OURS = "vf_"
_FOUND, _NEVER_FOUND = "record", "zero"
"""A term that each point of ours has: a zero vector is like nothing, and no search may find it.

The others hold a `=`, or are a hash.
"""
_MAX_TERM = 200
_UNIT = 1e-6
"""How far from 1 a squared length may be that Qdrant leaves as it is."""
_NUMBER_BYTES = 13

OURS: Mapping[str, object] = {"key": TERMS, "match": {"any": [_FOUND, _NEVER_FOUND]}}


class Payload(TypedDict):
    """What we read of a payload."""

    source_text: str
    source_document: str
    vf_version: int
    vf_metadata: str
    vf_vector: NotRequired[str]


class Point(TypedDict):
    """What Qdrant tells of a point."""

    id: str
    payload: Payload | None


class WholePoint(Point):
    """With its vector."""

    vector: list[float]


class ScoredPoint(Point):
    """With its score."""

    score: float


class Batch:
    """Records to write, and parts of them as the body of a request."""

    def __init__(self, records: pa.Table, vectors: Matrix) -> None:
        self._ids = strings_of(records["id"])
        self._units, changed = _units(vectors)
        self._payloads = _payloads(records)
        for row in np.flatnonzero(changed):
            exact = vectors[row].astype("<f4").tobytes()
            self._payloads[row][EXACT] = base64.b64encode(exact).decode()
        for row in np.flatnonzero(~self._units.any(axis=1)):
            self._payloads[row][TERMS] = [_NEVER_FOUND]
        text_bytes = records["text"].nbytes + 3 * records["metadata"].nbytes
        vector_bytes = int(vectors.size) * _NUMBER_BYTES
        self._row_bytes = 1 + (vector_bytes + text_bytes) // max(1, len(records))

    def rows_of(self, size: int) -> int:
        """How many rows make a body of about that many bytes."""
        return max(1, size // self._row_bytes)

    def body(self, start: int, stop: int) -> bytes:
        """Write some rows as the body of an upsert."""
        batch = {
            "ids": self._ids[start:stop],
            "vectors": self._units[start:stop],
            "payloads": self._payloads[start:stop],
        }
        return orjson.dumps({"batch": batch}, option=orjson.OPT_SERIALIZE_NUMPY)


def filter_of(terms: Sequence[str]) -> dict[str, object]:
    """Let through the records that have all these terms."""
    wanted = [_FOUND, *map(_short, terms)]
    return {"must": [{"key": TERMS, "match": {"value": term}} for term in wanted]}


def unit(vector: Matrix) -> Matrix:
    """Give the vector with length 1."""
    units, _ = _units(vector.reshape(1, -1))
    return units.reshape(-1)


def whole_records(points: Sequence[WholePoint], dimensions: int) -> pa.Table:
    """Read records with their vectors; points of others are left out."""
    ours = [(point, payload) for point in points if (payload := _ours(point))]
    if not ours:
        return record_schema(dimensions).empty_table()
    vectors = [_vector(point["vector"], payload) for point, payload in ours]
    columns = _columns(ours)
    columns.insert(1, vector_column(np.stack(vectors)))
    return pa.table(columns, schema=record_schema(dimensions))


def scored_records(points: Sequence[ScoredPoint], cosines: Sequence[float]) -> pa.Table:
    """Read what a search has found; points of others are left out."""
    found = [
        (point, payload, cosine)
        for point, cosine in zip(points, cosines, strict=True)
        if (payload := _ours(point))
    ]
    columns = _columns([(point, payload) for point, payload, _ in found])
    scores = pa.array([cosine for _, _, cosine in found], pa.float64())
    schema = record_schema(1).remove(1).append(pa.field("score", pa.float64()))
    return pa.table([*columns, scores], schema=schema)


def _units(vectors: Matrix) -> tuple[Matrix, NDArray[np.bool_]]:
    """Give vectors of length 1, as Qdrant would make them, and which of them had another.

    So a collection that ranks by inner product or distance ranks by cosine too.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    changed = (np.abs(squares - 1) > _UNIT) & (squares > 0)
    lengths = np.where(changed, np.sqrt(squares), 1.0)[:, np.newaxis]
    units = np.ascontiguousarray(vectors / lengths, dtype=np.float32)
    return units, changed


def _payloads(records: pa.Table) -> list[dict[str, object]]:
    read: dict[str, tuple[dict[str, object], list[str]]] = {}
    columns = (strings_of(records[name]) for name in ("text", "document", "metadata"))
    payloads: list[dict[str, object]] = []
    for text, document, metadata, version in zip(
        *columns, records["version"].to_pylist(), strict=True
    ):
        if metadata not in read:
            terms = [_FOUND, *map(_short, metadata_terms(metadata))]
            read[metadata] = _flat(metadata), terms
        flat, terms = read[metadata]
        ours = {TEXT: text, DOCUMENT: document, VERSION: version, METADATA: metadata, TERMS: terms}
        payloads.append(flat | ours)
    return payloads


def _flat(metadata: str) -> dict[str, object]:
    try:
        pairs: object = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        return {}  # NaN, which only Python calls JSON; the exact copy keeps it
    if not isinstance(pairs, dict):
        return {}
    kept = {str(key): value for key, value in pairs.items()}
    return {key: value for key, value in kept.items() if not key.startswith(_OURS)}


def _short(term: str) -> str:
    """Keep the index of terms small."""
    if len(term) <= _MAX_TERM:
        return term
    return "sha256:" + hashlib.sha256(term.encode()).hexdigest()


def _ours(point: Point) -> Payload | None:
    payload = point["payload"]
    return payload if payload and all(key in payload for key in SHOWN) else None


def _vector(stored: list[float], payload: Payload) -> Matrix:
    if exact := payload.get("vf_vector"):
        return np.frombuffer(base64.b64decode(exact), "<f4").astype(np.float32)
    return np.asarray(stored, dtype=np.float32)


def _columns(points: "Sequence[tuple[Point, Payload]]") -> "list[pa.Array[Any]]":
    return [
        pa.array([point["id"] for point, _ in points], pa.string()),
        pa.array([payload["source_text"] for _, payload in points], pa.string()),
        pa.array([payload["source_document"] for _, payload in points], pa.string()),
        pa.array([payload["vf_version"] for _, payload in points], pa.int32()),
        pa.array([payload["vf_metadata"] for _, payload in points], pa.string()),
    ]
