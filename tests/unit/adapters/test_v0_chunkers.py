"""The chunk strategies that v0 clients ask for by name."""

from itertools import pairwise

import pytest

from vectorflow import plugins
from vectorflow.adapters.chunkers.characters import CharacterChunker
from vectorflow.adapters.chunkers.paragraphs import ParagraphByCharactersChunker, ParagraphChunker
from vectorflow.adapters.chunkers.sentences import SentenceByCharactersChunker, SentenceChunker
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import InvalidInput
from vectorflow.testing.chunkers import MULTILINGUAL, MakeChunker, PieceTokenizer

LINES = "alpha\nbeta gamma\n\nSecond"


def _cut(make: MakeChunker, text: str, size: int, overlap: int = 0) -> list[str]:
    chunker = make(PieceTokenizer(), Chunking(chunker="v0", size=size, overlap=overlap))
    spans = chunker.chunk(Section(text=text, start=0))
    return [text[a:b] for a, b in zip(spans.starts, spans.ends, strict=True)]


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "characters",
        "paragraphs",
        "paragraphs_by_characters",
        "sentences",
        "sentences_by_characters",
    ],
)
def test_every_v0_strategy_is_a_plugin_that_keeps_line_breaks(name: str) -> None:
    make: MakeChunker = plugins.load("chunkers", name)

    assert "".join(_cut(make, LINES, 64)).startswith("alpha\nbeta gamma")


def test_windows_of_characters_have_the_size_and_the_overlap_asked_for() -> None:
    text = "".join(chr(ord("a") + n % 26) for n in range(100))

    chunks = _cut(CharacterChunker, text, 20, 5)

    assert [len(chunk) for chunk in chunks[:-1]] == [20] * 6
    assert all(here[-5:] == there[:5] for here, there in pairwise(chunks))
    assert chunks[0] + "".join(chunk[5:] for chunk in chunks[1:]) == text


def test_tokens_of_a_chunk_are_counted_by_the_tokenizer_though_its_size_is_characters() -> None:
    chunker = CharacterChunker(PieceTokenizer(), Chunking(chunker="v0", size=8, overlap=0))

    spans = chunker.chunk(Section(text="abcdefgh !!!! ab", start=0))

    assert spans.tokens.tolist() == [2, 5]
    assert spans.ends.tolist() == [8, 16]


def test_a_window_of_characters_is_shorter_where_it_would_part_one_that_readers_see() -> None:
    family = "👩\u200d👩\u200d👧"

    assert _cut(CharacterChunker, family * 4, 8) == [family] * 4


@pytest.mark.parametrize("blank", ["\n\n", "\n \t\n", "\r\n\r\n", "\n\n\n\n", "\u2029"])
def test_paragraphs_end_at_blank_lines_and_nowhere_else(blank: str) -> None:
    text = f"One line\nand another. Still the first.{blank}The second one here."

    chunks = _cut(ParagraphChunker, text, 12)

    assert chunks == ["One line\nand another. Still the first.", "The second one here."]


def test_paragraphs_are_joined_until_three_quarters_are_full() -> None:
    text = "\n\n".join(f"p{n} two tri" for n in range(7))

    chunks = _cut(ParagraphChunker, text, 8)

    assert [chunk.count("two") for chunk in chunks] == [2, 2, 2, 1]


def test_a_paragraph_that_does_not_fit_any_more_begins_a_chunk() -> None:
    text = "a b c\n\n" + "d " * 6 + "\n\ne f"

    assert _cut(ParagraphChunker, text, 8) == ["a b c", "d d d d d d", "e f"]


def test_a_paragraph_longer_than_a_chunk_is_cut_into_windows_with_overlap() -> None:
    text = "first one\n\n" + " ".join(f"w{n}" for n in range(12)) + "\n\nlast one"

    assert _cut(ParagraphChunker, text, 6, 2) == [
        "first one",
        "w0 w1 w2 w3 w4 w5",
        "w4 w5 w6 w7 w8 w9",
        "w8 w9 w10 w11",
        "last one",
    ]


def test_paragraphs_by_characters_go_on_with_whole_words_of_the_next() -> None:
    text = "First paragraph of text.\n\nSecond paragraph, longer.\n\nThird."

    chunks = _cut(ParagraphByCharactersChunker, text, 40, 12)

    assert chunks == ["First paragraph of text.\n\nSecond", "Second paragraph, longer.\n\nThird."]


def test_paragraphs_by_characters_overlap_no_more_than_fits() -> None:
    text = "\n\n".join("words " * 5 + "end." for _ in range(4))

    chunks = _cut(ParagraphByCharactersChunker, text, 36, 30)

    assert len(chunks) == 4
    assert max(map(len, chunks)) <= 36


@pytest.mark.parametrize("make", [SentenceChunker, SentenceByCharactersChunker])
def test_every_sentence_is_a_chunk(make: MakeChunker) -> None:
    text = 'Dr. Who paid 3.14. "He\nasked." A heading\n\n他们赋有理性。良心!Wait… Yes'

    assert _cut(make, text, 64, 8) == [
        "Dr. Who paid 3.14.",
        '"He\nasked."',
        "A heading",
        "他们赋有理性。",
        "良心!Wait…",
        "Yes",
    ]


def test_a_sentence_longer_than_a_chunk_is_cut_into_windows() -> None:
    text = "Short. " + " ".join(f"W{n}" for n in range(9)) + ". One more."

    assert _cut(SentenceChunker, text, 4) == [
        "Short.",
        "W0 W1 W2 W3",
        "W4 W5 W6 W7",
        "W8.",
        "One more.",
    ]


@pytest.mark.parametrize(
    "make",
    [
        CharacterChunker,
        ParagraphChunker,
        ParagraphByCharactersChunker,
        SentenceChunker,
        SentenceByCharactersChunker,
    ],
)
@pytest.mark.parametrize("size", [3, 17, 200])
def test_no_character_is_broken(make: MakeChunker, size: int) -> None:
    text = MULTILINGUAL + "\n\n" + "😀🎉 日本語のテキスト。" * 40

    chunks = _cut(make, text, size, size // 3)

    assert not any("\ufffd" in chunk for chunk in chunks)
    assert set("".join("".join(chunks).split())) == set("".join(text.split()))


def test_sizes_that_cannot_work_are_refused_in_the_unit_they_count() -> None:
    with pytest.raises(InvalidInput, match="overlap of 8 characters"):
        CharacterChunker(PieceTokenizer(), Chunking(chunker="characters", size=8, overlap=8))
