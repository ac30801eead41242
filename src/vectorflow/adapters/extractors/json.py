"""JSON."""

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import sections
from vectorflow.adapters._json_text import blocks, parse
from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._whole import whole
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

MAX_DOCUMENT = 64 << 20
"""Bytes; parsed, a document takes some ten times as many."""


class JsonExtractor(Extractor):
    """Gives lines `path: value`, a paragraph for each object; nothing is left out or rounded."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".geojson")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        data = whole(source, MAX_DOCUMENT, fix="write it as JSON Lines, which is read line by line")
        text = "".join(decoded(BytesIO(data)))
        if text.strip():
            yield from sections(blocks(parse(text)))
