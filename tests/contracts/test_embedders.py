from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
import pytest_asyncio

from vectorflow.adapters.embedders.hash import HashEmbedder
from vectorflow.adapters.embedders.local import LocalEmbedder
from vectorflow.adapters.embedders.openai import OpenAiEmbedder
from vectorflow.domain.records import Matrix
from vectorflow.ports.embedder import Embedder, Purpose
from vectorflow.testing.embedders import EmbedderSuite
from vectorflow.testing.provider import FakeProvider


class TestHashEmbedder(EmbedderSuite):
    @pytest.fixture
    async def embedder(self) -> AsyncIterator[Embedder]:
        async with HashEmbedder() as embedder:
            yield embedder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fastest() -> AsyncIterator[Embedder]:
    async with LocalEmbedder() as embedder:
        yield embedder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def openvino_f32() -> AsyncIterator[Embedder]:
    async with LocalEmbedder(runtimes=["OpenVINO f32"]) as embedder:
        yield embedder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def onnxruntime() -> AsyncIterator[Embedder]:
    async with LocalEmbedder(runtimes=["ONNX Runtime"]) as embedder:
        yield embedder


class TestLocalEmbedder(EmbedderSuite):
    @pytest.fixture
    def embedder(self, fastest: Embedder) -> Embedder:
        return fastest

    async def test_paraphrases_are_nearer_than_other_sentences(self, embedder: Embedder) -> None:
        vectors = await embedder.embed(
            [
                "How do I reset my password?",
                "I forgot my login credentials and need new ones.",
                "The cat slept on the warm windowsill.",
                "A kitten was napping by the sunny window.",
                "Interest rates rose by a quarter of a percent.",
            ],
            "document",
        )

        cosines = vectors @ vectors.T
        assert cosines[0, 1] > 0.4
        assert cosines[2, 3] > 0.4
        strangers = [cosines[0, 2], cosines[0, 3], cosines[0, 4], cosines[2, 4], cosines[1, 3]]
        assert max(strangers) < 0.25

    async def test_a_question_finds_its_answer(self, embedder: Embedder) -> None:
        answers = await embedder.embed(
            [
                "Water boils at one hundred degrees Celsius at sea level.",
                "The treaty was signed in 1648 and ended the Thirty Years' War.",
                "Photosynthesis turns light, water and carbon dioxide into sugar.",
            ],
            "document",
        )

        question = await embedder.embed(["When did the Thirty Years' War end?"], "query")

        assert int(np.argmax(answers @ question[0])) == 1

    async def test_the_end_of_a_chunk_that_grew_when_tokenized_anew_counts(
        self, embedder: Embedder
    ) -> None:
        filler = "word " * 300

        vectors = await embedder.embed([filler + "submarine", filler + "marmalade"], "document")

        assert float(vectors[0] @ vectors[1]) < 0.9999

    async def test_requests_larger_than_a_run_are_answered(self, embedder: Embedder) -> None:
        texts = [f"{number} bottles stand on the wall. " * 20 for number in range(40)]

        vectors = await embedder.embed(texts, "document")

        alone = await embedder.embed(texts[7:8], "document")
        assert vectors.shape == (40, 384)
        assert float(vectors[7] @ alone[0]) >= 0.999


class TestLocalEmbedderOnOpenVinoF32(TestLocalEmbedder):
    @pytest.fixture
    def embedder(self, openvino_f32: Embedder) -> Embedder:
        return openvino_f32


class TestLocalEmbedderOnOnnxRuntime(TestLocalEmbedder):
    @pytest.fixture
    def embedder(self, onnxruntime: Embedder) -> Embedder:
        return onnxruntime


class TestOpenAiEmbedder(EmbedderSuite):
    @pytest.fixture
    async def embedder(self) -> AsyncIterator[Embedder]:
        async with (
            FakeProvider(latency=0.001) as provider,
            OpenAiEmbedder("text-embedding-3-small", base_url=provider.url) as embedder,
        ):
            yield embedder


class TestOpenAiEmbedderWithShortenedVectors(EmbedderSuite):
    @pytest.fixture
    async def embedder(self) -> AsyncIterator[Embedder]:
        async with (
            FakeProvider() as provider,
            OpenAiEmbedder("text-embedding-3-large@256", base_url=provider.url) as embedder,
        ):
            yield embedder


class Reverses(HashEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        return (await super().embed(texts, purpose))[::-1]


class LosesTheLast(HashEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        return (await super().embed(texts, purpose))[: max(1, len(texts) - 1)]


class GivesDoubles(HashEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        return (await super().embed(texts, purpose)).astype(np.float64)


class SeesNeighbours(HashEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        vectors = await super().embed(texts, purpose)
        return vectors + np.roll(vectors, 1, axis=0)


class FailsOnNothing(HashEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        return np.stack(list(await super().embed(texts, purpose)))


class EmbedsQueriesElsewhere(HashEmbedder):
    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        vectors = await super().embed(texts, purpose)
        return -vectors if purpose == "query" else vectors


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Reverses, "test_each_text_gets_one_vector_in_order"),
        (Reverses, "test_requests_under_way_at_once_do_not_mix"),
        (LosesTheLast, "test_each_text_gets_one_vector_in_order"),
        (LosesTheLast, "test_a_full_request_is_answered"),
        (GivesDoubles, "test_vectors_are_finite_float32_of_the_promised_length"),
        (SeesNeighbours, "test_each_text_gets_one_vector_in_order"),
        (SeesNeighbours, "test_neighbours_do_not_change_a_vector"),
        (SeesNeighbours, "test_vectors_have_unit_length_where_the_fingerprint_says_so"),
        (EmbedsQueriesElsewhere, "test_a_query_finds_its_own_text"),
        (FailsOnNothing, "test_no_texts_give_an_empty_matrix"),
    ],
)
async def test_the_suite_catches(broken: type[HashEmbedder], test: str) -> None:
    async with broken() as embedder:
        with pytest.raises((AssertionError, ValueError)):
            await getattr(TestHashEmbedder(), test)(embedder)
