"""The parts of a binary Word document that its text is put together from.

Source: Microsoft, "[MS-DOC]: Word (.doc) Binary File Format"; names of fields are those used there.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import Struct
from typing import NamedTuple

from vectorflow.errors import BrokenFile, EncryptedFile, UnsupportedFormat

_U16, _U32 = Struct("<H"), Struct("<I")

_WORD_97 = 0x00C1
"""The least `nFib` of this format."""

_ENCRYPTED, _TABLE_1 = 0x0100, 0x0200
"""Bits of the flags at 0x0A."""

_TABLES_AT = 0x9A
"""Offset of FibRgFcLcb97: pairs of offset and length in the table stream."""

_STYLES, _CHARACTER_PAGES, _PARAGRAPH_PAGES, _PIECES = 1, 12, 13, 33
"""Places in it: Stshf, PlcfBteChpx, PlcfBtePapx, Clx."""

_PAGE = 512
"""Bytes of a page of formatting."""

_OPERANDS = (1, 1, 2, 4, 2, 2, 0, 3)
"""Bytes of an operand by the upper three bits of its code; 0 is a length that precedes it."""

_LONG_OPERANDS = frozenset({0xD608, 0xD606})
"""Definitions of table rows: their length has two bytes."""


class Stories(NamedTuple):
    """Characters of each part of the text, in the order in which they follow each other."""

    main: int
    footnotes: int
    headers: int
    macros: int
    comments: int
    endnotes: int
    boxes: int
    header_boxes: int


class Piece(NamedTuple):
    """A stretch of text, as it lies in the main stream."""

    first: int
    """Of the characters of the document."""
    end: int
    offset: int
    """Bytes."""
    width: int
    """Bytes of a character: 1 is Windows-1252, 2 is UTF-16."""


class Looks(NamedTuple):
    """Bytes from here to there look like this."""

    begin: int
    end: int
    style: int
    """Number of the style of a paragraph; 0 for characters."""
    changes: bytes
    """Codes and their operands (grpprl)."""


@dataclass(frozen=True)
class WordFile:
    """One document: the stream `WordDocument` and the table stream that goes with it."""

    main: bytes
    table: bytes

    @property
    def stories(self) -> Stories:
        return Stories(*(_u32(self.main, 0x4C + 4 * at) for at in range(8)))

    @property
    def pieces(self) -> Iterator[Piece]:
        """Give the pieces of the text in order.

        Raises:
            BrokenFile: They do not lie in the file.
        """
        clx = self._part(_PIECES)
        at = 0
        while clx[at : at + 1] == b"\1":
            at += 3 + _u16(clx, at + 1)
        if clx[at : at + 1] != b"\2":
            raise _damaged()
        bounds = clx[at + 5 : at + 5 + _u32(clx, at + 1)]
        count = (len(bounds) - 4) // 12
        for number in range(count):
            first, end = _u32(bounds, 4 * number), _u32(bounds, 4 * number + 4)
            where = _u32(bounds, 4 * (count + 1) + 8 * number + 2)
            width = 1 if where & 0x40000000 else 2
            offset = (where & 0x3FFFFFFF) // (2 if width == 1 else 1)
            if not first <= end or offset + (end - first) * width > len(self.main):
                raise _damaged()
            yield Piece(first, end, offset, width)

    @cached_property
    def paragraphs(self) -> "Formatting":
        """How paragraphs look."""
        return Formatting(sorted(self._looks(_PARAGRAPH_PAGES, 13)))

    @cached_property
    def characters(self) -> "Formatting":
        """How characters look."""
        return Formatting(sorted(self._looks(_CHARACTER_PAGES, 1)))

    @cached_property
    def styles(self) -> Sequence["Style"]:
        """Styles by their number."""
        sheet = self._part(_STYLES)
        found: list[Style] = []
        at = 2 + _u16(sheet, 0)
        while at + 2 <= len(sheet):
            length = _u16(sheet, at)
            std = sheet[at + 2 : at + 2 + length]
            found.append(Style(_u16(std, 0) & 0xFFF, _u16(std, 2) >> 4) if std else _NONE)
            at += 2 + length + length % 2
        return found

    def _part(self, place: int) -> bytes:
        at = _TABLES_AT + 8 * place
        offset, length = _u32(self.main, at), _u32(self.main, at + 4)
        if offset + length > len(self.table):
            raise _damaged()
        return self.table[offset : offset + length]

    def _looks(self, place: int, width: int) -> Iterator[Looks]:
        """Read pages of formatting; `width` is the bytes of an entry for one stretch."""
        listed = self._part(place)
        count = max(0, (len(listed) - 4) // 8)
        for number in range(count):
            page_at = (_u32(listed, 4 * (count + 1) + 4 * number) & 0x3FFFFF) * _PAGE
            page = self.main[page_at : page_at + _PAGE]
            if len(page) < _PAGE:
                raise _damaged()
            runs = page[-1]
            if 4 * (runs + 1) + width * runs >= _PAGE:
                raise _damaged()
            for run in range(runs):
                begin, end = _u32(page, 4 * run), _u32(page, 4 * run + 4)
                at = page[4 * (runs + 1) + width * run] * 2
                yield Looks(
                    begin, end, *_paragraph(page, at) if width > 1 else _character(page, at)
                )


class Style(NamedTuple):
    """A style of the sheet."""

    built_in: int
    """1 to 9 are headings, 62 is the title."""
    base: int
    """Number of the style it is based on."""


_NONE = Style(0xFFF, 0xFFF)


class Formatting:
    """What a place in the file looks like."""

    def __init__(self, looks: Sequence[Looks]) -> None:
        self._looks = looks
        self._begins = [one.begin for one in looks]

    def at(self, offset: int) -> Looks | None:
        """Give how the byte at an offset looks."""
        place = bisect_right(self._begins, offset) - 1
        if place < 0 or offset >= self._looks[place].end:
            return None
        return self._looks[place]

    def within(self, begin: int, end: int) -> Iterator[Looks]:
        """Give all looks that bytes between two offsets have, in order."""
        place = max(0, bisect_right(self._begins, begin) - 1)
        while place < len(self._looks) and self._looks[place].begin < end:
            if self._looks[place].end > begin:
                yield self._looks[place]
            place += 1


def check_header(main: bytes) -> str:
    """Look at the beginning of the main stream, and name the table stream that goes with it.

    Raises:
        EncryptedFile: It needs a password.
        UnsupportedFormat: It is older than Word 97.
        BrokenFile: It is no Word document.
    """
    if len(main) < _TABLES_AT or _u16(main, 0) not in {0xA5EC, 0xA5DC}:
        raise _damaged()
    flags = _u16(main, 0x0A)
    if flags & _ENCRYPTED:
        raise EncryptedFile("it is encrypted")
    if _u16(main, 2) < _WORD_97:
        fix = "open it with a program of today and save it as DOCX"
        raise UnsupportedFormat("it was written by Word 95 or an older one", fix=fix)
    return "1Table" if flags & _TABLE_1 else "0Table"


def changes(looks: Looks | None) -> Mapping[int, int]:
    """Read the codes of a formatting, and the first bytes of their operands as a number."""
    found: dict[int, int] = {}
    data = b"" if looks is None else looks.changes
    at = 0
    while at + 2 < len(data):
        code = _u16(data, at)
        at += 2
        length = _OPERANDS[code >> 13]
        if code in _LONG_OPERANDS:
            length, at = int.from_bytes(data[at : at + 2], "little") - 1, at + 2
        elif not length:
            length, at = int.from_bytes(data[at : at + 1], "little"), at + 1
        found[code] = int.from_bytes(data[at : at + min(length, 4)], "little")
        at += max(0, length)
    return found


def _paragraph(page: bytes, at: int) -> tuple[int, bytes]:
    """Read a PapxInFkp: its length in words, the style, then codes."""
    if not 0 < at < _PAGE - 1:
        return 0, b""
    begin, length = (at + 1, page[at] * 2 - 1) if page[at] else (at + 2, page[at + 1] * 2)
    held = page[begin : begin + length]
    return (_u16(held, 0), held[2:]) if len(held) > 1 else (0, b"")


def _character(page: bytes, at: int) -> tuple[int, bytes]:
    return (0, page[at + 1 : at + 1 + page[at]]) if at else (0, b"")


def _u16(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise _damaged()
    return int(_U16.unpack_from(data, at)[0])


def _u32(data: bytes, at: int) -> int:
    if at + 4 > len(data):
        raise _damaged()
    return int(_U32.unpack_from(data, at)[0])


def _damaged() -> BrokenFile:
    return BrokenFile("its list of what is where is damaged")
