"""Records to test vector stores with."""

import json
import uuid
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from vectorflow.domain.documents import canonical_json
from vectorflow.domain.records import Matrix, record_schema, vector_column
from vectorflow.ports.vector_store import Marker, Query, VectorStore

INDEX = "docs"
MARKER = Marker(ledger="ledger-1", fingerprint="f" * 32, incarnation="born-1", dimensions=4)
EAST, NORTH, UP, BACK = np.eye(4, dtype=np.float32)
PAIRS: dict[str, object] = {
    "word": "blue",
    "quoted": 'it\'s "so"; DROP TABLE x -- \\ %_',
    "unicode": "Grüße, 世界 🌍",
    "empty": "",
    "newline": "a\nb\tc",
    "count": 42,
    "negative": -7,
    "ratio": 0.25,
    "big": 2**53,
    "yes": True,
    "no": False,
    "a=b": "c=d",
    'k\'ey "x"': 1,
}
"""Metadata that can be filtered by."""


def record_ids(count: int, kind: str = "record") -> list[str]:
    """Give the same ids for the same arguments."""
    return [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind} {number}")) for number in range(count)]


def records_of(
    vectors: Sequence[Matrix] | Matrix,
    *,
    ids: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    metadata: Sequence[Mapping[str, object]] | None = None,
) -> pa.Table:
    """Make records, a vector each."""
    count = len(vectors)
    matrix = np.asarray(vectors, dtype=np.float32).reshape(count, -1)
    return pa.table(
        [
            pa.array(record_ids(count) if ids is None else ids, pa.string()),
            vector_column(matrix),
            pa.array([f"text {n}" for n in range(count)] if texts is None else texts, pa.string()),
            pa.array([f"folder/{n}.txt" for n in range(count)], pa.string()),
            pa.array([1] * count, pa.int32()),
            pa.array([canonical_json(m) for m in metadata or [{}] * count], pa.string()),
        ],
        schema=record_schema(matrix.shape[1]),
    )


def rows_by_id(records: pa.Table) -> dict[str, dict[str, object]]:
    """Give rows as dictionaries with the metadata parsed."""
    rows = records.to_pylist()
    return {row["id"]: row | {"metadata": json.loads(row["metadata"])} for row in rows}


async def texts_found(store: VectorStore, query: Query, index: str = INDEX) -> list[object]:
    """Search, and give the texts in the order found."""
    return [row["text"] for row in (await store.search(index, query)).to_pylist()]
