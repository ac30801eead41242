"""Vectors in a file: rows of one size, each of which shows whether it is what was asked for.

A row is the input hash, a checksum and the vector. The weights of the checksum are drawn from the
scope, so that a row of another tenant or model is as wrong as one that a crash cut off.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vectorflow.domain.records import Matrix

_WORD = 8


class RowForm:
    """How the rows of one scope look."""

    def __init__(self, scope: bytes, dimensions: int) -> None:
        self._dtype = np.dtype(
            [("key", "<u8", (2,)), ("check", "<u8"), ("vector", "<f4", (dimensions,))]
        )
        drawn = hashlib.shake_128(scope).digest(_WORD * (dimensions + 3))
        weights = np.frombuffer(drawn, dtype="<u8") | np.uint64(
            1
        )  # odd: every bit of a word counts
        self._salt, self._of_keys, self._of_vectors = weights[0], weights[1:3], weights[3:]

    @property
    def size(self) -> int:
        """Bytes of a row."""
        return self._dtype.itemsize

    def pack(self, keys: NDArray[np.uint64], vectors: Matrix) -> NDArray[np.void]:
        """Make rows; `keys` as given by `words_of`."""
        rows = np.empty(len(keys), dtype=self._dtype)
        rows["key"], rows["vector"] = keys, vectors
        rows["check"] = self._checks(rows)
        return rows

    def valid(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Tell which rows are as they were made."""
        right: NDArray[np.bool_] = rows["check"] == self._checks(rows)
        return right

    def blank(self, count: int) -> NDArray[np.void]:
        """Make room for rows that are read; none of them is valid yet."""
        return np.zeros(count, dtype=self._dtype)

    def _checks(self, rows: NDArray[np.void]) -> NDArray[np.uint64]:
        words = rows["vector"].view("<u4")
        of_vectors = np.einsum("ij,j->i", words, self._of_vectors, dtype=np.uint64)
        of_keys = np.einsum("ij,j->i", rows["key"], self._of_keys)
        checks: NDArray[np.uint64] = of_vectors + of_keys + self._salt
        return checks


@lru_cache(maxsize=64)
def row_form(scope: bytes, dimensions: int) -> RowForm:
    """Give the form of a scope's rows."""
    return RowForm(scope, dimensions)


def words_of(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    """Turn 16-byte hashes into two words each."""
    return np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)


def write_rows(path: Path, rows: NDArray[np.void], first: int) -> None:
    """Write rows from the place of row `first` on; nothing is synced."""
    data = rows.view(np.uint8).data
    at = first * rows.dtype.itemsize
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while data:
            written = os.pwrite(descriptor, data, at)
            data, at = data[written:], at + written
    finally:
        os.close(descriptor)


def read_rows(path: Path, numbers: NDArray[np.int64], into: NDArray[np.void]) -> None:
    """Read rows by their numbers, ascending: what lies side by side in one call.

    Where the file ends too soon, or is gone, `into` stays as it was.
    """
    size = into.dtype.itemsize
    data = into.view(np.uint8).data
    starts = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)
    ends = np.append(starts[1:], len(numbers))
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        offsets = (numbers[starts] * size).tolist()
        for start, end, at in zip(starts.tolist(), ends.tolist(), offsets, strict=True):
            os.preadv(descriptor, [data[start * size : end * size]], at)
    finally:
        os.close(descriptor)
