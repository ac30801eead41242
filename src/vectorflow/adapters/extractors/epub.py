"""Books (EPUB)."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import BinaryIO, ClassVar

from vectorflow.adapters import _html
from vectorflow.adapters._archives import opened
from vectorflow.adapters._blocks import Block, Heading, sections
from vectorflow.adapters._compounds import read_head
from vectorflow.adapters._epub_book import Book
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

_NEAR = 3
"""Blocks at whose end a chapter has shown its own heading, if it has one."""


class EpubExtractor(Extractor):
    """Gives the chapters in the order of reading, without the table of contents.

    A chapter that has no heading of its own gets the one that the table of contents gives it.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".epub",)
    library: ClassVar[str] = "selectolax"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        if not read_head(source):
            return
        with opened(source) as archive:
            book = Book(archive)
            yield from sections(_chapters(book), book.properties)


def _chapters(book: Book) -> Iterator[Block]:
    for path in book.chapters:
        blocks = _html.blocks(book.page(path))
        first = list(islice(blocks, _NEAR))
        entry = book.contents.get(path)
        if entry and first and not any(isinstance(block, Heading) for block in first):
            yield Heading(entry.level, entry.title)
        yield from chain(first, blocks)
