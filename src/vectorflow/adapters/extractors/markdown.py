"""Markdown."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import LONG_CODE, TABLE_SECTION
from vectorflow.adapters._front_matter import part_front_matter, properties
from vectorflow.adapters._languages import language
from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._text_outline import Line, Outline, Place, Placed, lines, sections
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.ports.extractor import Extractor

_MAX_INDENT = 3
"""Spaces; a line further in is code."""

_OPENING = re.compile(
    r" {0,3}(?:(?P<atx>#{1,6})(?=[ \t\r\n]|\Z)|(?P<fence>`{3,}(?=[^`]*\Z)|~{3,}))"
)
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*[\r\n]*\Z")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}\s*\Z")
_NO_PARAGRAPH = re.compile(r" {4}| {0,3}(?:\t|[>|<]|(?:[-+*]|\d{1,9}[.)])(?:\s|\Z))")
_ENDS_TABLE = re.compile(r" {0,3}(?:[><]|(?:[-+*]|\d{1,9}[.)])\s)")
_DELIMITER = re.compile(r"[ \t]*:?-+:?[ \t]*\Z")
_PIPE = re.compile(r"(?<!\\)\|")
_WORD = re.compile(r"[\w+#-]+")
_DIRECTIVES = frozenset({"code", "code-block", "code-cell", "sourcecode"})
"""Words before the language of a fence, as extensions of Markdown have them."""


class MarkdownExtractor(Extractor):
    """Gives a section per heading, the heading's line included, and the front matter as its own.

    Headings are those of CommonMark outside quotes and lists; of those that are underlined, the
    ones of a single line. Tables with pipes and long code in fences are sections too. The line
    that opens such a fence ends the section before, so that the code begins with code.
    """

    revision: ClassVar[int] = 3
    sandboxed: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = (
        ".md",
        ".markdown",
        ".mdown",
        ".mkd",
        ".mdx",
        ".qmd",
        ".rmd",
    )

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        front_matter, found = part_front_matter(lines(decoded(source)))
        yield from sections(_placed(front_matter, found), properties(front_matter))


def _placed(front_matter: str, found: Iterable[Line]) -> Iterator[Placed]:
    """Put each line in its section; blank lines after the front matter are of it."""
    before = Place(-1)
    if front_matter:
        yield Placed(before, front_matter)
    reader, begun = _Reader(), not front_matter
    for line in found:
        begun = begun or bool(line.text.strip())
        if begun:
            yield from reader.read(line)
        else:
            yield Placed(before, line.text)
    yield from reader.rest()


@dataclass(slots=True)
class _Fence:
    """Code in a fence, held back until it is long or ends."""

    mark: str
    language: str
    held: list[str]
    """The line that opens it, then code."""
    opens_document: bool
    length: int = 0
    """Characters of code that are held."""
    long: bool = False
    """It got a section of its own; nothing is held any more."""


class _Reader:
    """Follows headings, tables and fences down the lines of one document."""

    def __init__(self) -> None:
        self._outline = Outline()
        self._fence: _Fence | None = None
        self._row_room = 0
        """Characters that still fit into the section of the table that a row would go on."""
        self._in_table = False
        self._in_paragraph = False
        self._held = ""
        """A line that the next may make a heading, or the names of a table's columns."""
        self._held_begins = False
        """Whether a paragraph begins with it: only then may it become a heading."""
        self._begun = False
        """Whether there was any text yet."""

    def read(self, line: Line) -> Iterator[Placed]:
        if self._fence is not None:
            yield from self._read_code(self._fence, line)
        elif self._in_table and _goes_on_table(line):
            yield self._row(line)
        elif self._held and line.whole and self._completes(line.text):
            held, self._held = self._held, ""
            yield Placed(self._outline.place, held)
            yield Placed(self._outline.place, line.text)
        else:
            if self._held:
                yield self._text(self._held)
                self._held = ""
            if (placed := self._read_text(line)) is not None:
                yield placed
        if not self._begun:
            self._begun = self._fence is None and not line.blank

    def rest(self) -> Iterator[Placed]:
        """Give what was held back."""
        held = [self._held] if self._held else []
        if self._fence is not None and not self._fence.long:
            held = self._fence.held
        self._held = ""
        for text in held:
            yield self._text(text)

    def _text(self, text: str) -> Placed:
        if self._outline.place.kind is not SectionKind.TEXT:
            self._outline.turn()
        return Placed(self._outline.place, text)

    def _read_text(self, line: Line) -> Placed | None:
        """Read what is in no table and no code; nothing is given where it is held back."""
        self._in_table = False
        if line.blank:  # goes with what is before it, also with a table or code
            self._in_paragraph = False
            return Placed(self._outline.place, line.text)
        if line.whole and (opening := _OPENING.match(line.text)):
            self._in_paragraph = False
            return self._open(line.text, opening)
        if line.whole and _RULE.match(line.text):
            self._in_paragraph = False
            return self._text(line.text)
        prose = line.whole and not _NO_PARAGRAPH.match(line.text)
        self._held_begins = prose and not self._in_paragraph
        self._in_paragraph = True
        if self._held_begins or (line.whole and _may_name_columns(line.text)):
            self._held = line.text
            return None
        return self._text(line.text)

    def _open(self, line: str, opening: re.Match[str]) -> Placed | None:
        rest = line[opening.end() :]
        if opening["fence"]:
            first = not self._begun
            self._fence = _Fence(opening["fence"], _language(rest), [line], opens_document=first)
            return None
        self._outline.open(len(opening["atx"]), _atx_title(rest))
        return Placed(self._outline.place, line)

    def _completes(self, line: str) -> bool:
        """Open the heading or the table that a line makes of what is held, if it does."""
        underline = _UNDERLINE.match(line) if self._held_begins else None
        if underline:
            self._outline.open(1 if underline[1][0] == "=" else 2, self._held.strip())
        elif _delimits(line, self._held):
            header = self._held + line
            self._outline.turn(SectionKind.TABLE, header=header)
            self._in_table, self._row_room = True, TABLE_SECTION - len(header)
        else:
            return False
        self._in_paragraph = False
        return True

    def _row(self, line: Line) -> Placed:
        if line.begins and len(line.text) > self._row_room:
            self._outline.turn(SectionKind.TABLE, header=self._outline.place.header)
            self._row_room = TABLE_SECTION
        self._row_room -= len(line.text)
        return Placed(self._outline.place, line.text)

    def _read_code(self, fence: _Fence, line: Line) -> Iterator[Placed]:
        closes = line.whole and _closes(line.text, fence.mark)
        if fence.long:
            yield Placed(self._outline.place, line.text)
        else:
            fence.held.append(line.text)
            fence.length += 0 if closes else len(line.text)
        if not fence.long and fence.length >= LONG_CODE:
            yield from self._begin_code(fence)
        if closes:
            yield from self.rest()
            self._fence = None

    def _begin_code(self, fence: _Fence) -> Iterator[Placed]:
        opening = [] if fence.opens_document else fence.held[:1]
        yield from (Placed(self._outline.place, text) for text in opening)
        self._outline.turn(SectionKind.CODE, language=fence.language)
        for text in fence.held[len(opening) :]:
            yield Placed(self._outline.place, text)
        fence.long, fence.held = True, []


def _goes_on_table(line: Line) -> bool:
    """Tell whether a line is a row: all is that begins nothing else."""
    others = (_OPENING, _RULE, _ENDS_TABLE)
    return not line.blank and not (line.whole and any(other.match(line.text) for other in others))


def _may_name_columns(line: str) -> bool:
    return "|" in line and not line.startswith("    ") and not _ENDS_TABLE.match(line)


def _delimits(line: str, header: str) -> bool:
    """Tell whether a line of dashes and pipes makes the line before it the header of a table."""
    if "|" not in line or "-" not in line:
        return False
    cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    return len(cells) == _columns(header) and all(map(_DELIMITER.match, cells))


def _columns(header: str) -> int:
    row = header.strip().removeprefix("|")
    pipes = [match.end() for match in _PIPE.finditer(row)]
    return len(pipes) + (len(row) not in pipes)


def _language(info: str) -> str:
    """Name the language that the first words after a fence tell."""
    words = (word.lower() for word in _WORD.findall(info))
    return language(next((word for word in words if word not in _DIRECTIVES), ""))


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
