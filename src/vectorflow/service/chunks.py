"""Show the chunks of one document as an embed makes them, beside the text they are cut from."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import BinaryIO, NamedTuple

from vectorflow.domain.documents import Attached, Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import BadChunk, EmptyDocument
from vectorflow.ports.extractor import Extractor
from vectorflow.service.cut import Stretch
from vectorflow.service.extract import Cutters, check_length


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A chunk as it would be embedded."""

    position: int
    """Which chunk of the document, counted from 0."""
    start: int
    """First character in the document's text."""
    end: int
    """One past the last character."""
    tokens: int
    """Those of a repeated header included."""
    overlap: int
    """Characters at its start that the chunk before ends with."""
    overlap_tokens: int
    """The same stretch in tokens, counted alone."""
    page: int | None
    headings: tuple[str, ...]
    header: str
    """Of a table: the lines repeated before its rows; empty where none are."""
    text: str
    """What is embedded: the header, and the document's text from `start` to `end`."""


class ChunkedSection(NamedTuple):
    """A section, and its chunks by each of the chunkers."""

    section: Section
    chunks: tuple[list[Chunk], ...]


def chunked(
    name: str, source: BinaryIO, extractor: Extractor, cutters: Sequence[Cutters]
) -> Generator[ChunkedSection | Attached]:
    """Extract a document once, and cut it by each of the chunkers.

    Raises:
        DocumentFailed: As an embed would; `EmptyDocument` and `BadChunk` when all has been given,
            so that what is wrong can be seen.
    """
    ways = [_Cut(one) for one in cutters]
    is_empty = True
    for piece in extractor.extract(source):
        if isinstance(piece, Attached):
            is_empty = False
            yield piece
        else:
            yield ChunkedSection(piece, tuple(way.cut(piece) for way in ways))
    for way in ways:
        way.check()
        is_empty = is_empty and way.is_empty
    if is_empty:
        raise EmptyDocument(f"there is no text in {name!r}")


class _Cut:
    """Follows one chunker down a document."""

    def __init__(self, cutters: Cutters) -> None:
        self._cutters = cutters
        self._chunks = 0
        self._covered = 0
        self._refused: BadChunk | None = None

    def cut(self, section: Section) -> list[Chunk]:
        stretch = Stretch()
        stretch.add(section, self._cutters.chunker)
        try:
            check_length(stretch, self._chunks, self._cutters.longest)
        except BadChunk as error:
            self._refused = self._refused or error
        return [self._chunk(section, stretch, index) for index in range(len(stretch.texts))]

    @property
    def is_empty(self) -> bool:
        return not self._chunks

    def check(self) -> None:
        if self._refused:
            raise self._refused

    def _chunk(self, section: Section, stretch: Stretch, index: int) -> Chunk:
        text, start, end = stretch.texts[index], stretch.starts[index], stretch.ends[index]
        header = len(text) - (end - start)
        overlap = max(0, self._covered - start)
        self._covered, self._chunks = end, self._chunks + 1
        again = text[header : header + overlap]
        return Chunk(
            position=self._chunks - 1,
            start=start,
            end=end,
            tokens=stretch.tokens[index],
            overlap=overlap,
            overlap_tokens=self._cutters.count(again) if again else 0,
            page=section.page,
            headings=section.headings,
            header=text[:header],
            text=text,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSummary:
    """What the chunks of a document are like; all zero where there are none."""

    chunks: int = 0
    tokens: int = 0
    """Of all chunks: what is repeated is embedded, and counts, each time."""
    tokens_min: int = 0
    tokens_median: int = 0
    tokens_max: int = 0
    fill: float = 0.0
    """How much of the size a chunk uses, on average: 1 is all of it."""
    overlap: float = 0.0
    """Share of all tokens that the chunk before has too."""


class Tally:
    """Counts the chunks of one chunker as they come."""

    def __init__(self, chunking: Chunking) -> None:
        self._size = chunking.size
        self._measure = _characters if chunking.unit == "characters" else _tokens
        self._tokens: list[int] = []
        self._used = 0
        self._overlap = 0

    @property
    def chunks(self) -> int:
        """How many came so far."""
        return len(self._tokens)

    def add(self, chunks: Sequence[Chunk]) -> None:
        """Count the next chunks."""
        for chunk in chunks:
            self._tokens.append(chunk.tokens)
            self._used += self._measure(chunk)
            self._overlap += chunk.overlap_tokens

    def summary(self) -> ChunkSummary:
        """Sum up what came so far."""
        if not self._tokens:
            return ChunkSummary()
        chunks, tokens = len(self._tokens), sum(self._tokens)
        return ChunkSummary(
            chunks=chunks,
            tokens=tokens,
            tokens_min=min(self._tokens),
            tokens_median=median_low(self._tokens),
            tokens_max=max(self._tokens),
            fill=round(self._used / (chunks * self._size), 4),
            overlap=round(self._overlap / max(1, tokens), 4),
        )


def _tokens(chunk: Chunk) -> int:
    return chunk.tokens


def _characters(chunk: Chunk) -> int:
    return len(chunk.text)
