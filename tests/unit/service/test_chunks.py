import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.chunked import WORDS, Pieces, RowChunker, cutters, sections, windows
from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.domain.documents import Attached, Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import BadChunk, BrokenFile, EmptyDocument
from vectorflow.ports.chunker import Spans
from vectorflow.service.chunks import (
    Chunk,
    ChunkedSection,
    ChunkSummary,
    Tally,
    chunked,
)
from vectorflow.service.cut import Cut, cut
from vectorflow.testing.chunkers import MULTILINGUAL, texts


def pieces_of(*pieces: Section | Attached | Exception) -> Iterator[ChunkedSection | Attached]:
    return chunked("doc", io.BytesIO(), Pieces(pieces), [windows(4, 1)])


def chunks_of(*pieces: Section) -> list[Chunk]:
    return [
        chunk
        for found in pieces_of(*pieces)
        if isinstance(found, ChunkedSection)
        for chunk in found.chunks[0]
    ]


@settings(deadline=None)
@given(text=texts(), size=st.integers(1, 12), overlap=st.integers(0, 11))
def test_chunks_are_those_that_an_embed_makes(text: str, size: int, overlap: int) -> None:
    chunking = Chunking(chunker="default", size=size, overlap=min(overlap, size - 1))
    chunker = DefaultChunker(WORDS, chunking)
    document = Pieces(sections(f"{text} end", text, "end"))

    cuts = cut(document.extract(io.BytesIO()), chunker)
    embedded = [one.stretch for one in cuts if isinstance(one, Cut)]
    seen = [
        chunk
        for found in chunked("x", io.BytesIO(), document, [cutters(chunker)])
        if isinstance(found, ChunkedSection)
        for chunk in found.chunks[0]
    ]

    assert [chunk.text for chunk in seen] == [text for one in embedded for text in one.texts]
    assert [chunk.start for chunk in seen] == [at for one in embedded for at in one.starts]
    assert [chunk.end for chunk in seen] == [at for one in embedded for at in one.ends]
    assert [chunk.tokens for chunk in seen] == [count for one in embedded for count in one.tokens]
    assert [chunk.position for chunk in seen] == list(range(len(seen)))


def test_an_overlap_is_told_in_characters_and_in_tokens() -> None:
    first, second, other = chunks_of(*sections("one two three four five six", "seven"))

    assert (first.overlap, first.overlap_tokens) == (0, 0)
    assert (second.text, second.overlap, second.overlap_tokens) == ("four five six", 4, 1)
    assert (other.text, other.position, other.overlap) == ("seven", 2, 0)


def test_a_repeated_header_is_told_from_the_text_of_the_chunk() -> None:
    table = Section(
        text="| a |\n| 1 |\n| 2 |\n", start=7, kind=SectionKind.TABLE, header="| a |\n", page=3
    )

    [found] = chunked("doc", io.BytesIO(), Pieces([table]), [cutters(RowChunker())])

    assert isinstance(found, ChunkedSection)
    names, one, two = found.chunks[0]
    assert (names.header, names.text) == ("", "| a |\n")
    assert (one.header, one.text) == ("| a |\n", "| a |\n| 1 |\n")
    assert (two.start, two.end, two.overlap, two.page) == (19, 25, 0, 3)


class Overlapping(RowChunker):
    """Two chunks that share a word, the second with the header."""

    def chunk(self, section: Section) -> Spans:
        starts, ends = np.array([0, 4]), np.array([7, len(section.text)])
        tokens, repeats = np.array([2, 4], dtype=np.int32), np.array([False, True])
        return Spans(starts, ends, tokens, repeats)


def test_an_overlap_after_a_repeated_header_is_counted_without_it() -> None:
    table = Section(text="one two three", start=0, kind=SectionKind.TABLE, header="| a | b |\n")

    [found] = chunked("doc", io.BytesIO(), Pieces([table]), [cutters(Overlapping())])

    assert isinstance(found, ChunkedSection)
    second = found.chunks[0][1]
    assert second.text == "| a | b |\ntwo three"
    assert (second.overlap, second.overlap_tokens) == (3, 1)


def test_each_section_is_given_before_the_next_is_read() -> None:
    found = pieces_of(*sections("one"), BrokenFile("cut short"))

    assert isinstance(next(found), ChunkedSection)
    with pytest.raises(BrokenFile):
        next(found)


def test_what_is_attached_is_given_where_it_is_found() -> None:
    attached = Attached(name="a.txt", data=b"12345")

    found = list(pieces_of(attached, *sections("one")))

    assert found[0] == attached
    assert isinstance(found[1], ChunkedSection)


def test_a_document_that_has_attachments_alone_does_not_fail() -> None:
    attached = Attached(name="a.txt", data=b"12345")

    assert list(pieces_of(attached)) == [attached]


def test_several_chunkers_cut_what_was_extracted_once() -> None:
    once = iter(sections("one two three four five six"))

    [found] = chunked("doc", io.BytesIO(), Pieces(once), [windows(2), windows(3)])

    assert isinstance(found, ChunkedSection)
    assert [len(chunks) for chunks in found.chunks] == [3, 2]


@pytest.mark.parametrize("texts", [[], [" \n\n "]])
def test_a_document_without_text_fails_as_in_an_embed(texts: list[str]) -> None:
    found = pieces_of(*sections(*texts))

    with pytest.raises(EmptyDocument, match="there is no text in 'doc'"):
        list(found)


def test_a_chunk_that_the_model_cannot_read_is_shown_and_then_fails() -> None:
    way = cutters(RowChunker(), longest=0)
    found = chunked("doc", io.BytesIO(), Pieces(sections("a\nb\n", "c\n")), [way])

    given = [next(found), next(found)]

    assert all(isinstance(one, ChunkedSection) for one in given)
    with pytest.raises(BadChunk) as raised:
        next(found)
    assert raised.value.position == 0


def test_a_summary_has_the_shares_of_size_and_overlap() -> None:
    tally = Tally(Chunking(chunker="tokens", size=4, overlap=1))

    tally.add(chunks_of(*sections("one two three four five six")))

    assert tally.summary() == ChunkSummary(
        chunks=2,
        tokens=7,
        tokens_min=3,
        tokens_median=3,
        tokens_max=4,
        fill=0.875,
        overlap=round(1 / 7, 4),
    )


def test_a_size_in_characters_is_filled_by_characters() -> None:
    tally = Tally(Chunking(chunker="sentences_by_characters", size=10, overlap=0))

    tally.add(chunks_of(*sections("five!")))

    assert tally.summary().fill == 0.5


def test_a_summary_of_nothing_is_zero() -> None:
    assert Tally(Chunking(chunker="tokens", size=4, overlap=1)).summary() == ChunkSummary()


def test_the_text_of_a_document_in_many_scripts_is_that_of_its_chunks() -> None:
    for chunk in chunks_of(Section(text=MULTILINGUAL, start=0)):
        assert chunk.text == MULTILINGUAL[chunk.start : chunk.end]
