"""What an embeddings request is answered with -> a checked matrix."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import orjson
import pybase64

from vectorflow.domain.records import Matrix
from vectorflow.errors import Unavailable

_FLOAT: Final = np.dtype("<f4")
_UNIT_TOLERANCE: Final = 1e-3


def most_bytes(texts: int, dimensions: int) -> int:
    """Give the size that no honest answer exceeds, be it written in numbers or in base64."""
    return (1 << 16) + texts * (1024 + 32 * dimensions)


def matrix_of_answer(body: bytes | bytearray, texts: int, dimensions: int) -> Matrix:
    """Read the vectors of an answer, a row for each text, in the order of the texts.

    Raises:
        Unavailable: It is not what an answer must be; says in what way.
    """
    try:
        rows = orjson.loads(body)["data"]
        places = [row["index"] for row in rows]
        written = [row["embedding"] for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise _malformed("is cut short or not of OpenAI's form") from error
    if len(rows) != texts:
        raise _malformed(f"holds {len(rows)} vectors for {texts} texts")
    if places != list(range(texts)):
        return _units(_in_order(_vectors(written, dimensions), places))
    return _units(_vectors(written, dimensions))


def _vectors(written: Sequence[object], dimensions: int) -> Matrix:
    strings = [one for one in written if isinstance(one, str)]
    if len(strings) == len(written):
        return _from_base64(strings, dimensions)
    return _from_numbers(written, dimensions)


def _from_base64(written: Sequence[str], dimensions: int) -> Matrix:
    """Decode all at once where no padding stands between them, as is mostly so."""
    size = dimensions * _FLOAT.itemsize
    if {len(one) for one in written} - {(size + 2) // 3 * 4}:
        raise _wrong_length(dimensions)
    joined = ["".join(written)] if size % 3 == 0 else written
    try:
        parts = [pybase64.b64decode_as_bytearray(one, validate=True) for one in joined]
    except ValueError as error:  # binascii.Error is one
        raise _malformed("holds a vector that is not base64") from error
    data = parts[0] if len(parts) == 1 else bytearray().join(parts)
    if len(data) != size * len(written):
        raise _wrong_length(dimensions)
    return np.frombuffer(data, _FLOAT).reshape(len(written), dimensions)


def _from_numbers(written: Sequence[object], dimensions: int) -> Matrix:
    """Read the lists of numbers that a server gives which does not know base64."""
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused later
            vectors = np.asarray(written, dtype=_FLOAT)
    except (ValueError, TypeError, OverflowError) as error:
        raise _malformed("holds a vector that is no list of numbers, or lists of two") from error
    if vectors.shape != (len(written), dimensions):
        raise _wrong_length(dimensions)
    return vectors


def _in_order(vectors: Matrix, places: Sequence[object]) -> Matrix:
    known = [place for place in places if isinstance(place, int)]
    if sorted(known) != list(range(len(places))):
        raise _malformed("does not say which vector is whose")
    ordered = np.empty_like(vectors)
    ordered[known] = vectors
    return ordered


def _units(vectors: Matrix) -> Matrix:
    """Make every row one long; those that are already stay as they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not np.isfinite(lengths).all():
        raise _malformed("holds a vector that is not finite")
    if not lengths.all():
        raise _malformed("holds a vector of nothing but zeros")
    off = np.abs(lengths - 1) > _UNIT_TOLERANCE
    if off.any():
        vectors[off] /= lengths[off, np.newaxis]
    return vectors


def error_of_answer(body: bytes | bytearray) -> Mapping[str, object]:
    """Read the `error` object of a refusal; empty where there is none."""
    try:
        read = orjson.loads(body)
    except ValueError:
        return {}
    found = read.get("error", read) if isinstance(read, dict) else {}
    return found if isinstance(found, dict) else {"message": found}


def _wrong_length(dimensions: int) -> Unavailable:
    malformed = _malformed(f"holds a vector that has not {dimensions} dimensions")
    malformed.fix = "if the model gives vectors of another length, name it as MODEL@DIMENSIONS"
    return malformed


def _malformed(how: str) -> Unavailable:
    return Unavailable(f"the embedding provider's answer {how}")
