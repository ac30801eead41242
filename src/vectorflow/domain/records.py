"""Records as they are stored: Arrow columns, a row per record."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Vectors: shape (rows, dimensions), float32."""


def record_schema(dimensions: int) -> pa.Schema:
    """Columns of stored records.

    `document` is the external id, `version` the number of the version in which the record first
    appeared, `metadata` a JSON object.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("document", pa.string(), nullable=False),
            pa.field("version", pa.int32(), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
        ]
    )


def vector_column(vectors: Matrix) -> "pa.FixedSizeListArray[Any, Any]":
    """Turn a matrix into an Arrow column without copying."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def matrix_of(column: "pa.ChunkedArray[Any]", dimensions: int) -> Matrix:
    """Turn an Arrow column of vectors into a matrix, shape (rows, dimensions)."""
    rows = [_floats(chunk) for chunk in column.iterchunks()]
    flat = np.concatenate(rows) if rows else np.empty(0, dtype=np.float32)
    return flat.reshape(-1, dimensions)


def _floats(chunk: "pa.Array[Any]") -> Matrix:
    if not isinstance(chunk, pa.FixedSizeListArray):
        message = f"vectors are kept as {chunk.type}"
        raise TypeError(message)
    return np.asarray(chunk.flatten(), dtype=np.float32)
