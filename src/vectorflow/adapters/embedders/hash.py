"""Vectors drawn from the text's hash: no meaning, no model, no time. For tests and trials."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final, Self

import numpy as np

from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix
from vectorflow.errors import InvalidInput
from vectorflow.ports.embedder import Embedder, EmbedderLimits, Purpose

MIN_DIMENSIONS: Final = 8
MAX_DIMENSIONS: Final = 16_384

_CENTRE: Final = np.float32(127.5)


class HashEmbedder(Embedder):
    """Equal texts get equal vectors, others nearly orthogonal ones."""

    tokenizer = "words"
    limits = EmbedderLimits(
        max_text_tokens=8192,
        request_tokens=65_536,
        request_texts=1024,
        concurrency=1,
        cached=False,
    )

    def __init__(self, model: str = "384") -> None:
        """Choose the number of dimensions, which is the model's name.

        Raises:
            InvalidInput: It is not a number, too small or too large.
        """
        if not (model.isascii() and model.isdigit() and len(model) <= len(str(MAX_DIMENSIONS))):
            raise InvalidInput(f"no hash model named {model!r}", fix="use a size, as in hash:384")
        dimensions = int(model)
        if not MIN_DIMENSIONS <= dimensions <= MAX_DIMENSIONS:
            raise InvalidInput(
                f"hash:{dimensions} is out of range",
                fix=f"use {MIN_DIMENSIONS} to {MAX_DIMENSIONS} dimensions",
            )
        self.fingerprint = Fingerprint(
            model="hash", revision="1", dimensions=dimensions, pooling="none", normalized=True
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:  # noqa: ARG002 - one space for both
        return await asyncio.to_thread(_draw, texts, self.fingerprint.dimensions)


def _draw(texts: Sequence[str], dimensions: int) -> Matrix:
    """Read SHAKE-128 output as coordinates: a byte each, centred so that none is zero."""
    drawn = b"".join(
        hashlib.shake_128(text.encode("utf-8", "surrogatepass")).digest(dimensions)
        for text in texts
    )
    vectors = np.frombuffer(drawn, np.uint8).reshape(len(texts), dimensions) - _CENTRE
    unit: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
