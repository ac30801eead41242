"""The characters of a page, as PDFium gives them -> text with paragraphs and headings."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from vectorflow.adapters._blocks import Block, Heading, Text

HYPHEN = "\ufffe"
"""Stands for the hyphen of a word that goes on in the next line, and for unknown characters."""

_GAP = 1.2
"""Times the distance of most lines: more is a new paragraph."""

_SAME_LINE = 1.0
"""Points; what lies nearer to the line before is a raised number, or text beside it."""

_END_OF_SENTENCE = re.compile(r"[.!?:;…。！？][\"'”’»)\]]*\Z")  # noqa: RUF001 - of other scripts
_LAST_WORD = re.compile(r"\w+\Z")
_FIRST_WORD = re.compile(r"\w+")

_BULLETS = "\uf06c\uf06e\uf071\uf075\uf076\uf0a7\uf0a8\uf0b7\uf0d8\uf0e0\uf0fc"
"""Where the fonts Symbol and Wingdings have them."""

_LETTER_FORMS = re.compile("[\ufb00-\ufdff\ufe70-\ufeff]")
"""Ligatures, and letters of Arabic and Hebrew as they look at the end of a word."""
_FORMS = re.compile("[\ufb00-\uffff]")
_LOST = "\ufffc\ufffd"
_NO_SIGNS = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_JOINERS = "\u200c\u200d"

_NUMBERING = 16
"""Characters that a line with a title may have more than the outline says."""
_LETTERS_ONLY = re.compile(r"[\W\d_]+")


Place = tuple[float, float]
"""Where a character begins, in points: right from the left edge, up from the lower one."""


class _Line(NamedTuple):
    start: int
    text: str
    is_parted: bool
    """Its last word goes on in the next line."""


class Mark(NamedTuple):
    """An entry of the outline."""

    level: int
    """1 is the outermost."""
    title: str


def text_of(raw: str, place: Callable[[int], Place]) -> str:
    """Give the text of a page: a line each, an empty one between paragraphs.

    A paragraph ends where the next line is further away than most, and where a column ends with a
    sentence. A word that was parted at the end of a line is joined, unless it may have a hyphen of
    its own.

    Args:
        raw: The characters in reading order; lines end with CRLF.
        place: Where the character of this number lies.
    """
    lines = [line for line in _lines(raw) if line.text]
    if not lines:
        return ""
    steps = _steps([place(line.start) for line in lines])
    typical = sorted(step for step in steps if step > _SAME_LINE) or [0.0]
    usual = typical[(len(typical) - 1) // 2]
    parts = [lines[0].text]
    for (before, line), step in zip(pairwise(lines), steps, strict=True):
        if before.is_parted:
            parts.append(_joint(before.text, line.text, raw))
        else:
            parts.append("\n\n" if _parts(step, usual, before.text) else "\n")
        parts.append(line.text)
    return _as_written("".join(parts)).strip()


def with_headings(text: str, marks: Sequence[Mark]) -> Iterator[Block]:
    """Put the entries of the outline that lead to a page where it has them as lines, else above."""
    if not marks:
        yield Text(text)
        return
    lines = text.split("\n")
    begin = 0
    for mark in marks:
        at, taken = _find(lines, mark.title, begin)
        yield Text("\n".join(lines[begin:at]))
        yield Heading(mark.level, " ".join(lines[at : at + taken]) or mark.title)
        begin = at + taken
    yield Text("\n".join(lines[begin:]))


def _lines(raw: str) -> Iterator[_Line]:
    begin = 0
    for line in raw.split("\r\n"):
        *parted, last = line.rstrip(f"{HYPHEN} ").split(HYPHEN)
        at = begin
        for part in parted:
            yield _Line(at, part.strip(), is_parted=True)
            at += len(part) + 1
        yield _Line(at, last.strip(), is_parted=False)
        begin += len(line) + 2


def _steps(places: Sequence[Place]) -> list[float]:
    """Say how far down each line after the first lies; of text that is turned, how far across."""
    pairs = list(pairwise(places))
    down = [above - below for (_, above), (_, below) in pairs]
    if down and min(down) > -_SAME_LINE and max(down) < _SAME_LINE:
        return [abs(before - after) for (before, _), (after, _) in pairs]
    return down


def _parts(step: float, usual: float, before: str) -> bool:
    if step < -usual:
        return _END_OF_SENTENCE.search(before) is not None
    return step > usual * _GAP


def _joint(before: str, after: str, page: str) -> str:
    """Say what stands between the halves of a word: nothing, or the hyphen that it has."""
    first, second = _LAST_WORD.search(before), _FIRST_WORD.match(after)
    if not (first and second):
        return ""
    small = before[-1].islower() and after[0].islower()
    return "" if small and f"{first[0]}-{second[0]}" not in page else "-"


def _as_written(text: str) -> str:
    """Replace characters that stand in PDFs but not in other texts."""
    if text.replace("\n", "").isprintable() and (text.isascii() or not _FORMS.search(text)):
        return text
    for char in set(text):
        if (usual := _usual(char)) != char:
            text = text.replace(char, usual)
    return text


@lru_cache(maxsize=4096)
def _usual(char: str) -> str:
    """Write a character as others do; empty where it means nothing to a reader."""
    if "!" <= char <= "~" or char == "\n" or char in _JOINERS:
        return char
    if char in _BULLETS:
        return "•"
    if char.isspace():
        return " "
    if unicodedata.category(char) in _NO_SIGNS or char in _LOST:
        return ""
    return unicodedata.normalize("NFKC", char) if _LETTER_FORMS.match(char) else char


def _find(lines: Sequence[str], title: str, begin: int) -> tuple[int, int]:
    """Find a title in one line or two; the place to begin at, and no line, where it is not."""
    wanted, longest = _key(title), len(title) + _NUMBERING
    for at in range(begin, len(lines) if wanted else begin):
        if not 0 < len(lines[at]) <= longest:
            continue
        key = _key(lines[at])
        if key == wanted:
            return at, 1
        if key and wanted.startswith(key) and wanted == _key("".join(lines[at : at + 2])):
            return at, 2
    return begin, 0


def _key(line: str) -> str:
    """Leave nothing but letters: titles are numbered, spaced and broken in other ways."""
    return _LETTERS_ONLY.sub("", line).casefold()
