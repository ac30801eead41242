from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorflow.adapters.chunkers.characters import CharacterChunker
from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.adapters.chunkers.paragraphs import ParagraphByCharactersChunker, ParagraphChunker
from vectorflow.adapters.chunkers.sentences import SentenceByCharactersChunker, SentenceChunker
from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.adapters.tokenizers.minilm import MiniLmTokenizer
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.testing.chunkers import (
    MULTILINGUAL,
    SUITES,
    ChunkerSuite,
    MakeChunker,
    PieceTokenizer,
    Unit,
    check_spans,
    texts,
)


class TestDefaultChunker(ChunkerSuite):
    name: ClassVar[str] = "default"
    golden: ClassVar[Mapping[int, str]] = {1: "1f237bbf54456627"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return DefaultChunker


class TestTokenChunker(ChunkerSuite):
    name: ClassVar[str] = "tokens"
    golden: ClassVar[Mapping[int, str]] = {1: "0efced83a3466277"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return TokenChunker


class TestCharacterChunker(ChunkerSuite):
    name: ClassVar[str] = "characters"
    unit: ClassVar[Unit] = "characters"
    golden: ClassVar[Mapping[int, str]] = {1: "b4794fc88739c4eb"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return CharacterChunker


class TestParagraphChunker(ChunkerSuite):
    name: ClassVar[str] = "paragraphs"
    golden: ClassVar[Mapping[int, str]] = {1: "25c70cbcff91ab79"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return ParagraphChunker


class TestParagraphByCharactersChunker(ChunkerSuite):
    name: ClassVar[str] = "paragraphs_by_characters"
    unit: ClassVar[Unit] = "characters"
    golden: ClassVar[Mapping[int, str]] = {1: "753431a780b98b3f"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return ParagraphByCharactersChunker


class TestSentenceChunker(ChunkerSuite):
    name: ClassVar[str] = "sentences"
    golden: ClassVar[Mapping[int, str]] = {1: "604ebf6ef3433e29"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return SentenceChunker

    def test_text_that_fits_is_one_chunk(self, make: MakeChunker) -> None:
        text = "  Two short sentences. They fit.\n"

        spans = make(PieceTokenizer(), self._chunking(40, 5)).chunk(Section(text=text, start=0))

        assert [column.tolist() for column in spans] == [[2, 23], [22, 32], [7, 3]]


class TestSentenceByCharactersChunker(TestSentenceChunker):
    name: ClassVar[str] = "sentences_by_characters"
    unit: ClassVar[Unit] = "characters"
    golden: ClassVar[Mapping[int, str]] = {1: "4a4b809acdf0296b"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return SentenceByCharactersChunker


def test_windows_have_the_size_and_the_overlap_asked_for() -> None:
    text = " ".join(f"w{number}" for number in range(100))
    tokenizer = PieceTokenizer()
    chunker = TokenChunker(tokenizer, Chunking(chunker="tokens", size=10, overlap=3))

    spans = chunker.chunk(Section(text=text, start=0))

    words = [text[a:b].split() for a, b in zip(spans.starts, spans.ends, strict=True)]
    assert words[:2] == [[f"w{n}" for n in range(10)], [f"w{n}" for n in range(7, 17)]]
    assert all(here[-3:] == there[:3] for here, there in pairwise(words))
    assert len(words[-1]) > 3
    assert spans.tokens[:-1].tolist() == [10] * (len(words) - 1)


@given(text=texts(), size=st.integers(8, 40))
@settings(max_examples=100, deadline=None)
def test_the_overlap_of_the_default_chunker_is_whole_sentences_within_bounds(
    text: str, size: int
) -> None:
    tokenizer = PieceTokenizer()
    chunking = Chunking(chunker="default", size=size, overlap=size // 4)

    spans = DefaultChunker(tokenizer, chunking).chunk(Section(text=text, start=0))

    for begin, end in zip(spans.starts[1:].tolist(), spans.ends[:-1].tolist(), strict=True):
        assert len(tokenizer.offsets(text[begin:end]).starts) <= size // 4


@pytest.mark.parametrize("tokenizer", [WordTokenizer(), MiniLmTokenizer()], ids=["words", "minilm"])
@given(text=texts(), size=st.integers(16, 60))
@settings(max_examples=60, deadline=None, suppress_health_check=SUITES)
def test_a_chunk_between_white_space_has_as_many_tokens_when_it_stands_alone(
    tokenizer: Tokenizer, text: str, size: int
) -> None:
    text = "Begin here. " + text + " And end."
    chunking = Chunking(chunker="default", size=size, overlap=size // 8)

    spans = DefaultChunker(tokenizer, chunking).chunk(Section(text=text, start=0))

    around = f" {text} "
    between = [
        (text[start:end], tokens)
        for start, end, tokens in zip(*(column.tolist() for column in spans), strict=True)
        if around[start] in " \n" and around[end + 1] in " \n"
    ]
    assert between or len(spans.starts) > 1
    assert [tokens for _, tokens in between] == [
        len(tokenizer.offsets(chunk).starts) for chunk, _ in between
    ]


def test_sentences_come_again_as_overlap() -> None:
    text = " ".join(f"Sentence {number} is here." for number in range(40))
    chunking = Chunking(chunker="default", size=40, overlap=12)

    spans = DefaultChunker(PieceTokenizer(), chunking).chunk(Section(text=text, start=0))

    chunks = [text[a:b] for a, b in zip(spans.starts, spans.ends, strict=True)]
    assert len(chunks) > 4
    assert all(chunk.startswith("Sentence ") and chunk.endswith(" here.") for chunk in chunks)
    assert all(spans.starts[1:] < spans.ends[:-1])


def test_one_inserted_sentence_leaves_all_but_a_few_chunks_alone() -> None:
    sentences = [
        f"Number {n * n % 997} follows {n} in list {n % 7}." + "\n\n" * (n % 5 == 0)
        for n in range(900)
    ]
    chunker = DefaultChunker(PieceTokenizer(), Chunking(chunker="default", size=128, overlap=16))

    def chunks(of: list[str]) -> set[str]:
        text = " ".join(of)
        spans = chunker.chunk(Section(text=text, start=0))
        return {text[a:b] for a, b in zip(spans.starts, spans.ends, strict=True)}

    before = chunks(sentences)
    changed = [
        len(chunks([*sentences[:at], "This one is new.", *sentences[at:]]) - before)
        for at in range(0, 900, 45)
    ]

    assert len(before) > 80
    assert float(np.median(changed)) <= 3
    assert max(changed) <= 12


@pytest.mark.parametrize(
    "chunker", [DefaultChunker, TokenChunker, ParagraphChunker, SentenceChunker]
)
@pytest.mark.parametrize(
    "unit", ["x", "。", ".", "\n", " \n", "\u0301", "\u200d", '"', "a.", ".)", "\r"]
)
def test_text_without_any_good_place_to_cut_is_cut_all_the_same(
    chunker: MakeChunker, unit: str
) -> None:
    text = "a" + unit * (100_000 // len(unit)) + "b"
    tokenizer = PieceTokenizer()

    spans = chunker(tokenizer, Chunking(chunker="x", size=254, overlap=31)).chunk(
        Section(text=text, start=0)
    )

    check_spans(text, spans, tokenizer, 254)


def _spans(*bounds: tuple[int, int, int]) -> Spans:
    starts, ends, tokens = np.array(bounds).T
    return Spans(starts.astype(np.int64), ends.astype(np.int64), tokens.astype(np.int32))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (_spans((0, 4, 1), (10, 14, 1)), "in no chunk"),
        (_spans((5, 14, 2), (0, 9, 2)), "order"),
        (_spans((0, 14, 3)), "too large"),
        (_spans((0, 9, 1), (5, 14, 2)), "wrong number"),
        (_spans((0, 9, 2), (5, 9, 1), (10, 14, 1)), "in another"),
        (_spans((0, 10, 2), (10, 14, 1)), "white space"),
        (_spans((0, 9, 2), (10, 15, 1)), "out of bounds"),
    ],
)
def test_the_suite_finds_broken_chunkers(broken: Spans, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_spans("abcd efgh ijkl", broken, PieceTokenizer(), 2)


def test_the_sample_is_what_it_claims() -> None:
    assert "\ufffd" not in MULTILINGUAL
    assert "\u0301" in MULTILINGUAL
