"""Read Arrow columns that hold no nulls as plain Python values."""

from typing import Any

import pyarrow as pa


def strings(table: pa.Table, name: str) -> list[str]:
    """Values of a text column."""
    values: list[Any] = table[name].to_pylist()
    return values


def integers(table: pa.Table, name: str) -> list[int]:
    """Values of a whole-number column."""
    values: list[Any] = table[name].to_pylist()
    return values


def hashes(table: pa.Table, name: str) -> list[bytes]:
    """Values of a column of 16-byte hashes."""
    values: list[Any] = table[name].to_pylist()
    return values
