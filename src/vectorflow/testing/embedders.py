"""What every embedder must do."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import numpy as np
import pytest

from vectorflow.domain.records import Matrix
from vectorflow.ports.embedder import Embedder

TEXTS = (
    "The invoice is due within thirty days of delivery.",
    "Yeast makes dough rise.",
    "def add(a, b): return a + b",
    "Der Zug nach Hamburg fährt um sieben Uhr ab.",
    "中文字符 and 日本語",
    "emoji 👩‍👩‍👧 beyond the first plane 𠀀𠀁",
    "[CLS] looks like a control token [SEP]",
    "tabs\tand\r\nline ends",
    "a lone surrogate \ud800 in the middle",
    "The history of the lighthouse begins with a fire on a hill. " * 12,
)

SAME = 0.999
"""Cosine of two vectors of one text: neighbours and padding may change the last bits."""


class EmbedderSuite(ABC):
    """Subclass it in your tests, and say in `embedder` how yours is made."""

    @pytest.fixture
    @abstractmethod
    def embedder(self) -> Embedder | AsyncIterator[Embedder]:
        """Give or yield the embedder under test, entered."""

    async def test_each_text_gets_one_vector_in_order(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS, "document")

        for vector, text in zip(vectors, TEXTS, strict=True):
            alone = await embedder.embed([text], "document")
            assert _cosine(vector, alone[0]) >= SAME
            assert np.argmax(vectors @ alone[0]) == TEXTS.index(text)

    async def test_vectors_are_finite_float32_of_the_promised_length(
        self, embedder: Embedder
    ) -> None:
        vectors = await embedder.embed(TEXTS, "document")

        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), embedder.fingerprint.dimensions)
        assert np.isfinite(vectors).all()
        assert np.abs(vectors).max() > 0

    async def test_vectors_have_unit_length_where_the_fingerprint_says_so(
        self, embedder: Embedder
    ) -> None:
        vectors = await embedder.embed(TEXTS, "document")

        lengths = np.linalg.norm(vectors, axis=1)
        assert lengths.shape == (len(TEXTS),)
        if embedder.fingerprint.normalized:
            np.testing.assert_allclose(lengths, 1, atol=1e-3)

    async def test_neighbours_do_not_change_a_vector(self, embedder: Embedder) -> None:
        forwards = await embedder.embed(TEXTS, "document")
        backwards = await embedder.embed(TEXTS[::-1], "document")

        assert len(forwards) == len(TEXTS)
        np.testing.assert_allclose(forwards, backwards[::-1], atol=2e-2)

    async def test_a_repeated_text_gets_its_vector_each_time(self, embedder: Embedder) -> None:
        vectors = await embedder.embed([TEXTS[0], TEXTS[1], TEXTS[0]], "document")

        assert vectors.shape[0] == 3
        assert _cosine(vectors[0], vectors[2]) >= SAME
        assert _cosine(vectors[0], vectors[1]) < SAME

    async def test_distinct_texts_get_distinct_vectors(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(TEXTS, "document")

        lengths = np.linalg.norm(vectors, axis=1)
        cosines = (vectors @ vectors.T) / np.outer(lengths, lengths)
        np.fill_diagonal(cosines, 0)
        assert cosines.shape == (len(TEXTS), len(TEXTS))
        assert cosines.max() < SAME

    async def test_no_texts_give_an_empty_matrix(self, embedder: Embedder) -> None:
        vectors = await embedder.embed([], "document")

        assert vectors.shape == (0, embedder.fingerprint.dimensions)
        assert vectors.dtype == np.float32

    async def test_a_full_request_is_answered(self, embedder: Embedder) -> None:
        texts = [
            f"{number} {TEXTS[1]}" for number in range(min(embedder.limits.request_texts, 128))
        ]

        vectors = await embedder.embed(texts, "document")

        assert vectors.shape == (len(texts), embedder.fingerprint.dimensions)
        assert len(np.unique(vectors, axis=0)) == len(texts)

    async def test_a_text_longer_than_the_limit_does_not_fail(self, embedder: Embedder) -> None:
        long = "one more word " * embedder.limits.max_text_tokens

        vectors = await embedder.embed([TEXTS[0], long], "document")

        alone = await embedder.embed([TEXTS[0]], "document")
        assert np.isfinite(vectors).all()
        assert _cosine(vectors[0], alone[0]) >= SAME

    async def test_a_query_finds_its_own_text(self, embedder: Embedder) -> None:
        documents = await embedder.embed(TEXTS, "document")

        query = await embedder.embed([TEXTS[2]], "query")

        assert query.shape == (1, embedder.fingerprint.dimensions)
        assert int(np.argmax(documents @ query[0])) == 2

    async def test_requests_under_way_at_once_do_not_mix(self, embedder: Embedder) -> None:
        expected = await embedder.embed(TEXTS, "document")

        requests = [[TEXTS[at], TEXTS[(at + 1) % len(TEXTS)]] for at in range(len(TEXTS))]
        under_way = asyncio.Semaphore(embedder.limits.concurrency)

        async def embed(texts: list[str]) -> Matrix:
            async with under_way:
                return await embedder.embed(texts, "document")

        found = await asyncio.gather(*[embed(texts) for texts in requests])

        assert len(found) == len(TEXTS)
        for at, vectors in enumerate(found):
            assert _cosine(vectors[0], expected[at]) >= SAME
            assert _cosine(vectors[1], expected[(at + 1) % len(TEXTS)]) >= SAME

    async def test_the_limits_leave_room_for_one_text(self, embedder: Embedder) -> None:
        limits = embedder.limits

        assert limits.request_tokens >= limits.max_text_tokens >= 1
        assert limits.request_texts >= 1
        assert limits.concurrency >= 1


def _cosine(one: Matrix, other: Matrix) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
