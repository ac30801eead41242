"""JSON Lines: a document of JSON in each line."""

from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import Text, sections
from vectorflow.adapters._json_text import parse, record
from vectorflow.adapters._text_decoding import decoded
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, LimitExceeded
from vectorflow.ports.extractor import Extractor

MAX_LINE = 16 << 20
"""Characters of one record."""


class JsonLinesExtractor(Extractor):
    """Gives a paragraph of lines `path: value` for each record, as it is read."""

    revision: ClassVar[int] = 1
    sandboxed: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        return sections(_records(decoded(source)))


def _records(pieces: Iterator[str]) -> Iterator[Text]:
    for number, line in enumerate(_lines(pieces), start=1):
        if not line.strip():
            continue
        try:
            value = parse(line)
        except BrokenFile:
            message = f"line {number:,} is no JSON"
            raise BrokenFile(message, fix="mend that line or leave it out") from None
        yield Text(record(value))


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    held: list[str] = []
    length = 0
    for piece in chain(pieces, ("\n",)):
        first, *others = piece.split("\n")
        held.append(first)
        length += len(first)
        if length > MAX_LINE:
            raise LimitExceeded("size", f"a line is longer than {MAX_LINE:,} characters")
        for line in others:
            yield "".join(held)
            held, length = [line], len(line)
