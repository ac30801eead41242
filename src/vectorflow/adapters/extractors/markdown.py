"""Markdown."""

import re
from collections.abc import Iterator
from itertools import chain, groupby, islice
from typing import BinaryIO, ClassVar, NamedTuple

from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._text_sections import bounded
from vectorflow.domain.documents import Section
from vectorflow.ports.extractor import Extractor

_MAX_LINE = 1024
"""Characters; what is longer goes through in pieces and is never a heading."""

_MAX_FRONT_MATTER = 1 << 16
_MAX_INDENT = 3
"""Spaces; a line further in is code."""

# At the end of what has been read, a lone CR may yet turn out to be half of a CRLF.
_LINE = re.compile(rf"[^\r\n]{{0,{_MAX_LINE - 1}}}(?:\r\n|\n|\r(?!\Z))|[^\r\n]{{{_MAX_LINE}}}")

_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t\r\n]|\Z)")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*\Z)|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*[\r\n]*\Z")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}\s*\Z")
_NO_PARAGRAPH = re.compile(r" {4}| {0,3}(?:\t|[>|<]|(?:[-+*]|\d{1,9}[.)])(?:\s|\Z))")


class MarkdownExtractor(Extractor):
    """Gives a section per heading, the heading's line included, and the front matter as its own.

    Headings are those of CommonMark outside quotes and lists; of those that are underlined, the
    ones of a single line.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".md", ".markdown")

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        start = 0
        for place, group in groupby(_placed(decoded(source)), lambda line: line.place):
            for text in bounded(line.text for line in group):
                yield Section(text=text, start=start, headings=place.headings)
                start += len(text)


class _Place(NamedTuple):
    number: int
    """Counts headings, so that two alike after each other stay two."""
    headings: tuple[str, ...]


class _Placed(NamedTuple):
    place: _Place
    text: str


def _placed(pieces: Iterator[str]) -> Iterator[_Placed]:
    front_matter, lines = _part_front_matter(_lines(pieces))
    if front_matter:
        yield _Placed(_Place(-1, ()), front_matter)
    outline = _Outline()
    for line in lines:
        yield from outline.read(line)
    yield from outline.rest()


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Give each line with its end, and longer ones in pieces of `_MAX_LINE`."""
    rest = ""
    for piece in pieces:
        text, at = rest + piece, 0
        while match := _LINE.match(text, at):
            yield match[0]
            at = match.end()
        rest = text[at:]
    if rest:
        yield rest


def _part_front_matter(lines: Iterator[str]) -> tuple[str, Iterator[str]]:
    """Give the front matter, empty where there is none, and the lines that follow it."""
    taken = list(islice(lines, 2))
    first, second = (line.rstrip() for line in (*taken, "", "")[:2])
    if first != "---" or not second:
        return "", chain(taken, lines)
    length = len(taken[1])
    while taken[-1].rstrip() not in {"---", "..."}:
        line = next(lines, "")
        taken.append(line)
        length += len(line)
        if not line or length > _MAX_FRONT_MATTER:
            return "", chain(taken, lines)
    return "".join(taken), lines


class _Outline:
    """Follows headings down the lines of one document."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._place = _Place(0, ())
        self._fence = ""
        self._in_paragraph = False
        self._at_line_start = True
        self._held = ""
        """The first line of a paragraph: an underline would make it a heading."""

    def read(self, line: str) -> Iterator[_Placed]:
        ended = line.endswith(("\n", "\r"))
        whole = self._at_line_start and (ended or len(line) < _MAX_LINE)
        self._at_line_start = ended
        held, self._held = self._held, ""
        underline = _UNDERLINE.match(line) if held and whole else None
        if underline:
            self._open(1 if underline[1][0] == "=" else 2, held.strip())
        if held:
            yield _Placed(self._place, held)
        if whole and not underline and self._begins_paragraph(line):
            self._held = line
            return
        self._in_paragraph = self._in_paragraph or not whole
        yield _Placed(self._place, line)

    def rest(self) -> Iterator[_Placed]:
        if self._held:
            yield _Placed(self._place, self._held)

    def _begins_paragraph(self, line: str) -> bool:
        if self._fence:
            if _closes(line, self._fence):
                self._fence = ""
            return False
        if fence := _FENCE.match(line):
            self._fence = fence[1]
        elif atx := _ATX.match(line):
            self._open(len(atx[1]), _atx_title(line[atx.end() :]))
        elif line.strip() and not _RULE.match(line):
            begins = not self._in_paragraph and not _NO_PARAGRAPH.match(line)
            self._in_paragraph = True
            return begins
        self._in_paragraph = False
        return False

    def _open(self, level: int, title: str) -> None:
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, title))
        headings = tuple(title for _, title in self._path if title)
        self._place = _Place(self._place.number + 1, headings)
        self._in_paragraph = False


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    indent = len(line) - len(line.lstrip(" "))
    return indent <= _MAX_INDENT and len(mark) >= len(fence) and set(mark) == {fence[0]}


def _atx_title(rest: str) -> str:
    title = rest.strip()
    without_tail = title.rstrip("#")
    if without_tail == "" or without_tail.endswith((" ", "\t")):
        return without_tail.rstrip()
    return title
