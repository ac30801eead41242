from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorflow.adapters.chunkers.characters import CharacterChunker
from vectorflow.adapters.chunkers.code import CodeChunker
from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.adapters.chunkers.lines import LineChunker
from vectorflow.adapters.chunkers.markdown import MarkdownChunker
from vectorflow.adapters.chunkers.pages import PageChunker
from vectorflow.adapters.chunkers.paragraphs import ParagraphByCharactersChunker, ParagraphChunker
from vectorflow.adapters.chunkers.recursive import RecursiveChunker
from vectorflow.adapters.chunkers.rows import RowChunker
from vectorflow.adapters.chunkers.sentences import SentenceByCharactersChunker, SentenceChunker
from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.chunker import Spans
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.testing.chunkers import (
    MULTILINGUAL,
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
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "b476bd069e54c71a b94df375492bad25"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return DefaultChunker


class TestRecursiveChunker(ChunkerSuite):
    name: ClassVar[str] = "recursive"
    golden: ClassVar[Mapping[int, str]] = {1: "ea72d97e4d3dd495"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "b476bd069e54c71a b94df375492bad25"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return RecursiveChunker


class TestMarkdownChunker(ChunkerSuite):
    name: ClassVar[str] = "markdown"
    golden: ClassVar[Mapping[int, str]] = {1: "2e1de90a39fb6fc9"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "b476bd069e54c71a b94df375492bad25"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return MarkdownChunker


class TestLineChunker(ChunkerSuite):
    name: ClassVar[str] = "lines"
    golden: ClassVar[Mapping[int, str]] = {1: "529212094b8a0766"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "48af7a6b77a32d2b 79dcae184a3ec615"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return LineChunker


class TestRowChunker(ChunkerSuite):
    name: ClassVar[str] = "rows"
    golden: ClassVar[Mapping[int, str]] = {1: "529212094b8a0766"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "b476bd069e54c71a b49d0a76f950c7f4"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return RowChunker


class TestCodeChunker(ChunkerSuite):
    name: ClassVar[str] = "code"
    golden: ClassVar[Mapping[int, str]] = {1: "267279305c2a1624"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "b476bd069e54c71a b94df375492bad25"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return CodeChunker


class TestPageChunker(ChunkerSuite):
    name: ClassVar[str] = "pages"
    golden: ClassVar[Mapping[int, str]] = {1: "0efced83a3466277"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "b476bd069e54c71a 8c5063ca1eb1f7a3"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return PageChunker


class TestTokenChunker(ChunkerSuite):
    name: ClassVar[str] = "tokens"
    golden: ClassVar[Mapping[int, str]] = {1: "0efced83a3466277"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "a0c872311c1f6b37 8c5063ca1eb1f7a3"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return TokenChunker


class TestCharacterChunker(ChunkerSuite):
    name: ClassVar[str] = "characters"
    unit: ClassVar[Unit] = "characters"
    golden: ClassVar[Mapping[int, str]] = {1: "b4794fc88739c4eb", 2: "405d89c2b0f6c192"}
    golden_kinds: ClassVar[Mapping[int, str]] = {2: "19b5508d001a1d2c 0f102a2b786df263"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return CharacterChunker


class TestParagraphChunker(ChunkerSuite):
    name: ClassVar[str] = "paragraphs"
    golden: ClassVar[Mapping[int, str]] = {1: "25c70cbcff91ab79"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "a0c872311c1f6b37 b94df375492bad25"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return ParagraphChunker


class TestParagraphByCharactersChunker(ChunkerSuite):
    name: ClassVar[str] = "paragraphs_by_characters"
    unit: ClassVar[Unit] = "characters"
    golden: ClassVar[Mapping[int, str]] = {1: "753431a780b98b3f", 2: "55a0b33e1c8916c4"}
    golden_kinds: ClassVar[Mapping[int, str]] = {2: "19b5508d001a1d2c b884efd3d61eff7a"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return ParagraphByCharactersChunker


class TestSentenceChunker(ChunkerSuite):
    name: ClassVar[str] = "sentences"
    golden: ClassVar[Mapping[int, str]] = {1: "604ebf6ef3433e29"}
    golden_kinds: ClassVar[Mapping[int, str]] = {1: "161e1eadde5dca81 b94df375492bad25"}

    @pytest.fixture
    def make(self) -> MakeChunker:
        return SentenceChunker

    def test_text_that_fits_is_one_chunk(self, make: MakeChunker) -> None:
        text = "  Two short sentences. They fit.\n"

        spans = make(PieceTokenizer(), self._chunking(40, 5)).chunk(Section(text=text, start=0))

        assert [column.tolist() for column in spans[:3]] == [[2, 23], [22, 32], [7, 3]]


class TestSentenceByCharactersChunker(TestSentenceChunker):
    name: ClassVar[str] = "sentences_by_characters"
    unit: ClassVar[Unit] = "characters"
    golden: ClassVar[Mapping[int, str]] = {1: "4a4b809acdf0296b", 2: "2a36773d420f2200"}
    golden_kinds: ClassVar[Mapping[int, str]] = {2: "9397f6bb7b0e931a b884efd3d61eff7a"}

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
    "chunker",
    [
        CodeChunker,
        DefaultChunker,
        LineChunker,
        MarkdownChunker,
        ParagraphChunker,
        RecursiveChunker,
        RowChunker,
        SentenceChunker,
        TokenChunker,
    ],
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

    check_spans(Section(text=text, start=0), spans, tokenizer, 254)


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
        check_spans(Section(text="abcd efgh ijkl", start=0), broken, PieceTokenizer(), 2)


HEADED = Section(text="ab cd\nef gh", start=0, kind=SectionKind.TABLE, header="ab cd\n")


@pytest.mark.parametrize(
    ("repeats", "tokens", "complaint"),
    [
        ([True, True], [4, 4], "before itself"),
        ([False, True], [2, 2], "wrong number"),
        ([False, False], [2, 4], "wrong number"),
        ([False, True], [2, 4], "too large"),
    ],
)
def test_the_suite_finds_chunkers_that_repeat_headers_wrongly(
    repeats: list[bool], tokens: list[int], complaint: str
) -> None:
    spans = _spans((0, 5, tokens[0]), (6, 11, tokens[1]))._replace(repeats=np.array(repeats))

    with pytest.raises(AssertionError, match=complaint):
        check_spans(HEADED, spans, PieceTokenizer(), 3)


def test_the_suite_finds_a_header_that_is_none() -> None:
    spans = _spans((0, 4, 1))._replace(repeats=np.array([True]))

    with pytest.raises(AssertionError, match="that is none"):
        check_spans(Section(text="abcd", start=0), spans, PieceTokenizer(), 3)


class RepeatsTooMuch(TokenChunker):
    """Takes more of the chunk before than it was asked for."""

    def __init__(self, tokenizer: Tokenizer, chunking: Chunking) -> None:
        more = replace(chunking, overlap=min(chunking.size - 1, chunking.overlap + 3))
        super().__init__(tokenizer, more)


class CountsInContext(TokenChunker):
    """Trusts that a stretch has as many tokens alone as among others."""

    def chunk(self, section: Section) -> Spans:
        spans = super().chunk(section)
        return spans._replace(tokens=spans.tokens + 1)


class ForgetsTables(TokenChunker):
    """Repeats the header without counting it."""

    def chunk(self, section: Section) -> Spans:
        spans = super().chunk(section)
        again = [not section.text.startswith(section.header, at) for at in spans.starts.tolist()]
        return spans._replace(repeats=np.array(again, dtype=np.bool_)) if section.header else spans


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (RepeatsTooMuch, "test_no_more_comes_again_than_was_asked_for"),
        (CountsInContext, "test_any_text_is_cut_by_the_laws"),
        (ForgetsTables, "test_tables_and_code_are_cut_by_the_laws"),
    ],
)
def test_the_suite_finds_broken_doubles(broken: MakeChunker, test: str) -> None:
    suite = TestTokenChunker()
    run = getattr(suite, test)
    arguments = {"size": 32, "overlap": 4} if test.startswith("test_no_more") else {}

    with pytest.raises(AssertionError):
        run(make=broken, **arguments)


def test_the_sample_is_what_it_claims() -> None:
    assert "\ufffd" not in MULTILINGUAL
    assert "\u0301" in MULTILINGUAL
