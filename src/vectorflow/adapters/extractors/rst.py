"""reStructuredText."""

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._text_decoding import decoded
from vectorflow.adapters._text_outline import Line, Outline, Placed, lines, sections
from vectorflow.domain.documents import Section
from vectorflow.ports.extractor import Extractor

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1*[ \t]*[\r\n]*\Z")

_LONG_ENOUGH = 4
"""Characters of an adornment that may be shorter than its title."""

_NO_TITLE = re.compile(
    r"\s|\.\.(?:\s|\Z)|__\s|[-*+•‣⁃]\s|:[^:\s][^:]*:(?:\s|\Z)|\|\s|>>>\s"  # noqa: RUF001 - bullets
)
"""Begins of explicit markup, lists, fields, line blocks and doctests."""


class RstExtractor(Extractor):
    """Gives a section per heading, the heading's lines included; all else stays as it is.

    Headings are those of docutils: a line at the margin, first of its paragraph, with an underline
    and perhaps an overline. Each new style of them is one level deeper than those before.
    """

    revision: ClassVar[int] = 1
    sandboxed: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = (".rst", ".rest")

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        return sections(_placed(lines(decoded(source))), {})


def _placed(found: Iterable[Line]) -> Iterator[Placed]:
    reader = _Reader()
    for line in found:
        yield from reader.read(line)
    yield from reader.rest()


class _Reader:
    """Finds headings; holds back at most an overline and a title."""

    def __init__(self) -> None:
        self._outline = Outline()
        self._styles: list[tuple[str, bool]] = []
        """Character of each level's adornment, and whether there is an overline."""
        self._held: list[str] = []
        self._fresh = True
        """Whether the next line begins a paragraph."""

    def read(self, line: Line) -> Iterator[Placed]:
        if self._held and line.whole and self._ends_heading(line.text):
            self._held.append(line.text)
            yield from self.rest()
            self._fresh = True
        elif self._may_go_on(line):
            self._held.append(line.text)
        else:
            yield from self.rest()
            yield Placed(self._outline.place, line.text)
            self._fresh = line.blank

    def rest(self) -> Iterator[Placed]:
        """Give what was held back."""
        for text in self._held:
            yield Placed(self._outline.place, text)
        self._fresh = self._fresh and not self._held
        self._held = []

    def _may_go_on(self, line: Line) -> bool:
        """Tell whether a line and what is held may be the begin of a heading."""
        if not line.whole or line.blank:
            return False
        if not self._held:
            return self._fresh and not (_NO_TITLE.match(line.text) and not _adorns(line.text))
        return len(self._held) == 1 and _adorns(self._held[0]) and not _adorns(line.text)

    def _ends_heading(self, line: str) -> bool:
        """Open a heading if a line is the underline of what is held."""
        *over, title = self._held
        if not _fits(line, title) or _adorns(title):
            return False
        if over and not (_fits(over[0], title) and over[0][0] == line[0]):
            return False
        self._outline.open(self._level(line[0], over=bool(over)), title.strip())
        return True

    def _level(self, character: str, *, over: bool) -> int:
        style = (character, over)
        if style not in self._styles:
            self._styles.append(style)
        return self._styles.index(style) + 1


def _adorns(line: str) -> bool:
    return _ADORNMENT.match(line) is not None


def _fits(adornment: str, title: str) -> bool:
    return _adorns(adornment) and len(adornment.strip()) >= min(len(title.rstrip()), _LONG_ENOUGH)
