"""The structure of Markdown as far as it matters where it is cut."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`\n]*$)|~{3,})")
_HEADING: Final = re.compile(r" {0,3}#{1,6}(?=[ \t]|$)")
_ITEM: Final = re.compile(r"[ \t]*(?:[-+*]|\d{1,9}[.)])[ \t]")
_ROW: Final = re.compile(r" {0,3}\|")
_FIRST: Final = re.compile(r"[ \t]*(?:[-+*#|`~]|\d{1,9}[.)])|[ \t]{2}")
"""What a line begins with that may be more than text; all others need no closer look."""


class Outline(NamedTuple):
    """Places, as characters of the text, ascending."""

    blocks: list[int]
    """Where paragraphs, lists, tables and fenced code begin; with a heading, where that begins."""
    items: list[int]
    """Where items of lists, rows of tables and lines of code begin."""


def outline(text: str) -> Outline:
    """Find the blocks of a text, and what they are made of."""
    reader = _Reader()
    for start, line in _lines(text):
        reader.read(start, line)
    return Outline(reader.blocks, reader.items)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, line.rstrip()
        start += len(line)


class _Reader:
    """Follows the blocks down the lines of one text."""

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.items: list[int] = []
        self._fence = ""
        self._kind = ""
        """Of the block that goes on: `text`, `list`, `table`, `heading`; empty between blocks."""
        self._blank = True

    def read(self, start: int, line: str) -> None:
        """Take the next line, without its end."""
        if self._fence:
            self.items.append(start)
            if _closes(line, self._fence):
                self._fence, self._kind = "", ""
        elif not line:
            self._blank = True
        else:
            self._take(start, self._kind_of(line))
            self._blank = False

    def _kind_of(self, line: str) -> str:
        if not _FIRST.match(line):
            return "text"
        if fence := _FENCE.match(line):
            self._fence = fence[1]
            return "fence"
        if _HEADING.match(line):
            return "heading"
        if _ROW.match(line):
            return "table"
        return "list" if _ITEM.match(line) else "inner" if line[0] in " \t" else "text"

    def _take(self, start: int, kind: str) -> None:
        if self._goes_on(kind):
            if kind in {"list", "table"}:
                self.items.append(start)
            return
        if self._kind != "heading":
            self.blocks.append(start)
        self._kind = "text" if kind == "inner" else kind

    def _goes_on(self, kind: str) -> bool:
        """Tell whether a line belongs to the block before it."""
        if self._kind == "list":
            return kind in {"list", "inner"} or (kind == "text" and not self._blank)
        if self._blank or kind in {"fence", "heading"}:
            return False
        return self._kind == kind or (self._kind == "text" and kind in {"inner", "text"})


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}
