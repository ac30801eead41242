"""Web pages."""

from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import sections
from vectorflow.adapters._html import blocks
from vectorflow.adapters._html_decoding import decoded_page
from vectorflow.adapters._html_page import Page
from vectorflow.adapters._whole import whole
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

MAX_PAGE = 64 << 20
"""Bytes; the tree of a page takes some ten times as many."""


class HtmlExtractor(Extractor):
    """Gives what a reader of a page sees, links and emphasis as their text alone."""

    revision: ClassVar[int] = 1
    library: ClassVar[str] = "selectolax"
    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml", ".xht")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        if data := whole(source, MAX_PAGE):
            page = Page(decoded_page(data))
            yield from sections(blocks(page), page.properties())
