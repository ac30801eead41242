"""Rows of values, parted by commas, semicolons, tabs or bars."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from io import IncrementalNewlineDecoder
from itertools import chain
from typing import BinaryIO, ClassVar, NamedTuple

from vectorflow.adapters._blocks import sections
from vectorflow.adapters._tables import table_blocks
from vectorflow.adapters._text_decoding import decoded
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

_HEAD = 60_000
"""Characters that tell how values are parted and quoted."""

_LONGEST_LINE = 60_000
"""Characters; a longer line goes on in a further row."""

_LONGEST_ROW = 120_000
"""Characters of quoted lines that may be one row: as much as the csv module takes for a value."""

_SEPARATOR = re.compile(r"sep=(.)")
"""The first line of a file by which Excel is told what parts the values."""


_DOUBLED = re.compile(r'(?<![\\,;\t|\n])""(?![,;\t|\n])')
"""A quote in a value that is doubled, not an empty value."""


class CsvExtractor(Extractor):
    """Gives one table, as it is read; how values are parted and quoted is told by the first lines.

    A row that is longer or shorter than others stays so, and lines before the table become text.
    """

    revision: ClassVar[int] = 1
    sandboxed: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        return sections(table_blocks(_rows(_lines(decoded(source)), ",;\t|")))


class TsvExtractor(Extractor):
    """Gives one table as that of CSV does; values are parted by tabs where there are any."""

    revision: ClassVar[int] = 1
    sandboxed: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = (".tsv", ".tab")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        return sections(table_blocks(_rows(_lines(decoded(source)), "\t")))


class _Format(NamedTuple):
    """How the values of a row are parted and quoted."""

    delimiter: str
    quote: str = '"'
    escape: str | None = None
    """Stands before a quote that belongs to a value; None where quotes are doubled instead."""

    def read(self, lines: Sequence[str]) -> Iterator[list[str]]:
        """Read lines that end where a row does."""
        if len(lines) == 1 and self.quote not in lines[0]:
            return iter([lines[0].removesuffix("\n").split(self.delimiter)])
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=self.escape is None,
        )

    def quotes(self, line: str) -> int:
        """Count the quotes in a line, less those that are escaped."""
        escaped = line.count(self.escape + self.quote) if self.escape else 0
        return line.count(self.quote) - escaped


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Give lines, each with a line feed at its end; one that is too long in several."""
    newlines = IncrementalNewlineDecoder(None, translate=True)
    rest = ""
    for piece in chain(pieces, ("",)):
        *lines, rest = (rest + newlines.decode(piece, final=not piece)).split("\n")
        for line in lines:
            yield line + "\n"
        while len(rest) > _LONGEST_LINE:
            yield rest[:_LONGEST_LINE] + "\n"
            rest = rest[_LONGEST_LINE:]
    if rest:
        yield rest + "\n"


def _rows(lines: Iterator[str], delimiters: str) -> Iterator[list[str]]:
    """Give the rows that hold anything."""
    head = list(_head(lines))
    if head and (told := _SEPARATOR.fullmatch(head[0].rstrip("\n"))):
        delimiters = told[1]
        head.pop(0)
    format_ = _sniffed(head, delimiters)
    for group in _groups(chain(head, lines), format_):
        yield from filter(any, format_.read(group))


def _head(lines: Iterator[str]) -> Iterator[str]:
    length = 0
    for line in lines:
        yield line
        length += len(line)
        if length > _HEAD // 2:
            return


def _groups(lines: Iterator[str], format_: _Format) -> Iterator[list[str]]:
    """Put lines together that a quoted value may run over: until their quotes are even."""
    group, length, is_open = list[str](), 0, False
    for line in lines:
        if group and length + len(line) > _LONGEST_ROW:
            yield group
            group, length, is_open = [], 0, False
        group.append(line)
        length += len(line)
        is_open ^= format_.quotes(line) % 2 == 1
        if not is_open:
            yield group
            group, length = [], 0
    if group:
        yield group


def _sniffed(head: Sequence[str], delimiters: str) -> _Format:
    """Find the delimiter by which most rows have as many values as each other, and several."""
    text = "".join(head)
    escape = "\\" if '\\"' in text and not _DOUBLED.search(text) else None
    quote = "'" if '"' not in text and _single_quoted(head, delimiters) else '"'
    formats = [_Format(delimiter, quote, escape) for delimiter in delimiters]
    return max(formats, key=lambda one: _evenness(head, one))


def _single_quoted(head: Sequence[str], delimiters: str) -> bool:
    """Tell whether most lines hold a value in single quotes."""
    parts = re.escape(delimiters)
    quoted = re.compile(rf"(?:\A|[{parts}])'[^'\n]*'(?:[{parts}\n]|\Z)")
    return sum(1 for line in head if quoted.search(line)) * 2 > len(head)


def _evenness(head: Sequence[str], format_: _Format) -> tuple[float, int]:
    widths = Counter(len(row) for row in format_.read(head) if row)
    (usual, rows), *_ = widths.most_common(1) or [(1, 0)]
    return (rows / widths.total(), usual) if usual > 1 else (0, 0)
