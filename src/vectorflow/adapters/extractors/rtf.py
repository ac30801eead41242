"""Rich Text Format (RTF)."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import sections
from vectorflow.adapters._compounds import read_head
from vectorflow.adapters._pieces import blocks
from vectorflow.adapters._rtf_reader import Reader
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile
from vectorflow.ports.extractor import Extractor

_BEGINS = b"{\\rtf"


class RtfExtractor(Extractor):
    """Gives headers and footers where they are set, the body, and notes after their paragraph.

    Left out are deleted and hidden text, comments, tables of contents, pictures and embedded files.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".rtf",)

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        head = read_head(source)
        if not head:
            return
        if not head.startswith(_BEGINS):
            raise BrokenFile("it is no RTF")
        reader = Reader(source)
        pieces = reader.pieces()
        first = list(islice(pieces, 1))
        yield from sections(blocks(chain(first, pieces)), reader.properties)
