"""The chunks of one document: nothing is kept, no model is loaded, no ledger or store is opened."""

import asyncio
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from vectorflow.domain.attachments import clean_name
from vectorflow.domain.documents import Attached, Listed
from vectorflow.domain.formats import HEAD_BYTES
from vectorflow.domain.pipelines import Chunking, Pipeline, Recipe
from vectorflow.errors import InvalidInput
from vectorflow.flow.loop import LoopThread
from vectorflow.flow.report import Input
from vectorflow.flow.sources import source_of
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.source import Source
from vectorflow.sandbox.pool import Pool
from vectorflow.service.chunks import Chunk, ChunkedSection, ChunkSummary, Tally, chunked
from vectorflow.service.extract import Cutters
from vectorflow.settings import Settings
from vectorflow.wiring import detect, make_cutters, make_recipe, make_sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A document inside of the document, which an embed makes a document of its own."""

    name: str
    """As in its external id."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChunks:
    """A document cut as an embed would cut it."""

    document: str
    """External id."""
    extractor: str
    """Named after the format that it reads."""
    chunker: str
    size: int
    overlap: int
    """As asked for; each chunk says what it has."""
    embedder: str
    tokenizer: str
    properties: Mapping[str, str]
    """What the document says of itself; kept on its records."""
    attachments: tuple[Attachment, ...]
    summary: ChunkSummary
    chunks: tuple[Chunk, ...] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Reading:
    """One document while it is cut, by one chunker or several; only the last section is held."""

    document: str
    extractor: str
    embedder: str
    tokenizer: str
    chunkings: tuple[Chunking, ...]
    pieces: Iterator[ChunkedSection | Attached]
    tallies: tuple[Tally, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    attachments: list[Attachment] = field(default_factory=list[Attachment])

    def __post_init__(self) -> None:
        self.tallies = tuple(map(Tally, self.chunkings))

    def sections(self) -> Iterator[ChunkedSection]:
        """Give the sections with their chunks; the rest is gathered on the way.

        Raises:
            DocumentFailed: An embed would fail too.
        """
        for piece in self.pieces:
            if isinstance(piece, Attached):
                self.attachments.append(
                    Attachment(name=clean_name(piece.name), size=len(piece.data))
                )
                continue
            self.properties = self.properties or piece.section.properties
            for tally, chunks in zip(self.tallies, piece.chunks, strict=True):
                tally.add(chunks)
            yield piece

    def whole(self, chunks: Sequence[Chunk], *, by: int = 0) -> DocumentChunks:
        """Put together what was read, with the chunks of one of the chunkers."""
        chunking = self.chunkings[by]
        return DocumentChunks(
            document=self.document,
            extractor=self.extractor,
            chunker=chunking.chunker,
            size=chunking.size,
            overlap=chunking.overlap,
            embedder=self.embedder,
            tokenizer=self.tokenizer,
            properties=dict(self.properties),
            attachments=tuple(self.attachments),
            summary=self.tallies[by].summary(),
            chunks=tuple(chunks),
        )


def recipes(settings: Settings, *chunkers: str) -> list[Recipe]:
    """Make the recipe of the settings, and the same with each of other chunkers.

    Raises:
        InvalidInput: A plugin is unknown, or the sizes cannot work.
    """
    others = [_with(settings, {"chunker": name}) for name in chunkers]
    return [make_recipe(one) for one in (settings, *others)]


@contextmanager
def reading(settings: Settings, source: Input, asked: Sequence[Recipe]) -> Generator[Reading]:
    """Open the only document of a source and begin to cut it by each recipe.

    Raises:
        InvalidInput: There is no document, or there are several.
        DocumentFailed: It cannot be read, or nothing here reads such files.
    """
    documents = source_of(source, None, settings.data_dir)
    listed = _only(documents)
    name = listed.external_id
    with documents.open(listed) as file, closing(make_sandbox(settings)) as sandbox:
        cutters = [_cutters(settings, recipe, sandbox) for recipe in asked]
        extractor = detect(name, file.read(HEAD_BYTES))
        file.seek(0)
        with (
            _lent(cutters[0], extractor) as lent,
            closing(chunked(name, file, lent, cutters)) as pieces,
        ):
            yield Reading(
                document=name,
                extractor=extractor,
                embedder=settings.embedder,
                tokenizer=asked[0].tokenizer,
                chunkings=tuple(recipe.chunking for recipe in asked),
                pieces=pieces,
            )


async def document_chunks(
    settings: Settings, source: Input, chunking: Mapping[str, object]
) -> DocumentChunks:
    """Cut one document in a thread; cancelled, that ends with the section it is at."""
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(_read, _with(settings, chunking), source, stopped)
    finally:
        stopped.set()


def _read(settings: Settings, source: Input, stopped: threading.Event) -> DocumentChunks:
    chunks: list[Chunk] = []
    with reading(settings, source, recipes(settings)) as document:
        for found in document.sections():
            chunks += found.chunks[0]
            if stopped.is_set():
                break
        return document.whole(chunks)


def _with(settings: Settings, chunking: Mapping[str, object]) -> Settings:
    """Cut otherwise than the settings say; what is None stays as it is."""
    given: dict[str, Any] = {name: value for name, value in chunking.items() if value is not None}
    if given.get("size") == 0:
        raise InvalidInput("a chunk size of 0 holds no text", fix="use 1 or more")
    try:
        return replace(settings, chunking=replace(settings.chunking, **given))
    except ValueError as error:
        raise InvalidInput(str(error), fix="ask for a smaller overlap, or larger chunks") from error


def _cutters(settings: Settings, recipe: Recipe, sandbox: Pool) -> Cutters:
    nowhere = Pipeline(recipe=recipe, embedder=settings.embedder, store="", index="")
    return make_cutters(settings, nowhere, sandbox)


@contextmanager
def _lent(cutters: Cutters, name: str) -> Generator[Extractor]:
    """Lend an extractor for one document to code that runs on no event loop."""
    loop, lending = LoopThread(), cutters.extractor(name)
    try:
        extractor = loop.run(lending.__aenter__())
        try:
            yield extractor
        finally:
            loop.run(lending.__aexit__(None, None, None))
    finally:
        loop.close()


def _only(source: Source) -> Listed:
    is_tree = source.scope is not None
    found = [] if is_tree else list(islice(source.list(), 2))
    if len(found) != 1:
        what = "this is a directory" if is_tree else f"there are {'several' if found else 'none'}"
        raise InvalidInput(f"one document is wanted, and {what}", fix="name one file")
    if found[0].failure:
        raise found[0].failure
    return found[0]
