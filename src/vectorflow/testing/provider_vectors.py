"""The vectors of the fake provider: drawn from the text's hash, and cheap to draw."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from vectorflow.domain.records import Matrix

MAX_DIMENSIONS: Final = 16_384

_BITS: Final = 20
_WINDOWS: Final = 1 << _BITS


def vector_of(text: str, dimensions: int, model: str = "text-embedding-3-small") -> Matrix:
    """Give the vector of one text: shape (dimensions,), one long.

    Fewer dimensions are the start of more, made one long again, as with OpenAI's newer models.
    """
    vector: Matrix = vectors_of([text], dimensions, model)[0]
    return vector


def vectors_of(texts: Sequence[str], dimensions: int, model: str) -> Matrix:
    """Give the vectors of texts, a row each.

    A row is a weighted sum of two stretches of one long row of random numbers; the text's hash says
    which, and the weight.
    """
    drawn = np.array([_drawn(text, model) for text in texts], dtype=np.uint64).reshape(-1)
    stretches = np.lib.stride_tricks.sliding_window_view(_numbers(), dimensions)
    weights = (drawn >> (2 * _BITS)).astype(np.float32) / np.float32(1 << (64 - 2 * _BITS))
    rows: Matrix = stretches[(drawn >> _BITS) % _WINDOWS]
    rows *= weights[:, np.newaxis] + np.float32(0.5)
    rows += stretches[drawn % _WINDOWS]
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, np.newaxis]
    return rows


def _drawn(text: str, model: str) -> int:
    data = f"{model}\0{text}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@cache
def _numbers() -> Matrix:
    generator = np.random.default_rng(20261122)
    return generator.standard_normal(_WINDOWS + MAX_DIMENSIONS, dtype=np.float32)
