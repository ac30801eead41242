"""Documents as the views of `vectorflow chunks` get them, cut by real chunkers."""

import io
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import BinaryIO, ClassVar

import numpy as np

from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.domain.documents import Attached, Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.flow.chunks import Reading
from vectorflow.ports.chunker import Chunker, Spans
from vectorflow.ports.extractor import Extractor
from vectorflow.service.chunks import chunked
from vectorflow.service.extract import Cutters

WORDS = WordTokenizer()


class Pieces(Extractor):
    """Gives what it was made with, whatever it reads; an error among it is raised."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, pieces: Iterable[Section | Attached | Exception]) -> None:
        self._pieces = pieces

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        del source
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class RowChunker(Chunker):
    """A chunk a line, with the header of a table before all but the first."""

    revision: ClassVar[int] = 1

    def chunk(self, section: Section) -> Spans:
        ends = np.cumsum([len(line) for line in section.text.splitlines(keepends=True)])
        starts = np.concatenate([[0], ends[:-1]])
        repeats = np.arange(len(ends)) > 0
        return Spans(starts, ends, np.ones(len(ends), dtype=np.int32), repeats)


def cutters(chunker: Chunker, *, longest: int = 100) -> Cutters:
    return Cutters(
        extractor=lambda _name: nullcontext(Pieces([])),
        detect=lambda _name, _head: "text",
        chunker=chunker,
        count=lambda text: len(WORDS.offsets(text).starts),
        longest=longest,
    )


def windows(size: int, overlap: int = 0) -> Cutters:
    return cutters(TokenChunker(WORDS, Chunking(chunker="tokens", size=size, overlap=overlap)))


def reading(
    pieces: Iterable[Section | Attached | Exception],
    *ways: Cutters,
    document: str = "doc.md",
    chunker: str = "tokens",
) -> Reading:
    """Begin to read a document that has these pieces."""
    chunkings = [Chunking(chunker=chunker, size=8, overlap=2), *[OTHER] * (len(ways) - 1)]
    return Reading(
        document=document,
        extractor="markdown",
        embedder="hash:384",
        tokenizer="words",
        chunkings=tuple(chunkings),
        pieces=chunked(document, io.BytesIO(), Pieces(pieces), ways),
    )


OTHER = Chunking(chunker="sentences", size=8, overlap=0)


def sections(*texts: str, headings: tuple[str, ...] = ()) -> list[Section]:
    """Sections of a document, one after the other."""
    starts = [sum(map(len, texts[:index])) for index in range(len(texts))]
    return [
        Section(text=text, start=start, headings=headings)
        for text, start in zip(texts, starts, strict=True)
    ]
