"""The text of a binary Word document, paragraph by paragraph."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from vectorflow.adapters._doc_file import Looks, Piece, WordFile, changes
from vectorflow.adapters._fields import Fields

CELL = "\x07"
"""The mark at the end of a cell, and of a row."""

_MARK = re.compile("[\r\x07\x0c]")
_FIELD = re.compile("([\x13\x14\x15])")
_WRITTEN = {
    **dict.fromkeys(map(ord, "\x01\x02\x03\x04\x05\x08\x1f\xad")),
    ord("\x0b"): "\n",
    ord("\x1e"): "-",
}
"""Pictures, references, separators and hyphens that are not shown; breaks and hyphens that are."""

_DELETED, _HIDDEN = 0x0800, 0x083C
"""Codes: marked as deleted, and not shown."""

_ANSI = "".join(
    bytes([code]).decode("cp1252", "replace").replace("\ufffd", chr(code)) for code in range(256)
)
"""Windows-1252; the five bytes that it leaves open are control characters."""


class Paragraph(NamedTuple):
    """A paragraph, without what was deleted or is hidden."""

    text: str
    mark: str
    """What ends it: a return, `CELL` or the break of a page."""
    looks: Looks | None


class TextReader:
    """Reads paragraphs one after the other: fields may go on from one into the next."""

    def __init__(self, file: WordFile) -> None:
        self._file = file
        self._fields = Fields()

    def paragraphs(self, first: int, end: int) -> Iterator[Paragraph]:
        """Give the paragraphs between two characters of the document."""
        held: list[str] = []
        for piece in self._file.pieces:
            for text, offset in self._shown(_clipped(piece, first, end)):
                at = 0
                for mark in _MARK.finditer(text):
                    held.append(text[at : mark.start()])
                    where = offset + _bytes_before(text, mark.start(), piece.width)
                    looks = self._file.paragraphs.at(where)
                    yield Paragraph(self._written("".join(held)), mark[0], looks)
                    held, at = [], mark.end()
                held.append(text[at:])
        if rest := self._written("".join(held)):
            yield Paragraph(rest, "", None)

    def end_fields(self) -> None:
        """Forget the fields that have begun."""
        self._fields.close()

    def _shown(self, piece: Piece) -> Iterator[tuple[str, int]]:
        """Give what is shown of a piece, and where in the file it begins."""
        begin, end = piece.offset, piece.offset + (piece.end - piece.first) * piece.width
        for look in self._file.characters.within(begin, end):
            if _is_out(look):
                yield self._decoded(begin, min(look.begin, end), piece.width), begin
                begin = max(begin, min(look.end, end))
        yield self._decoded(begin, end, piece.width), begin

    def _decoded(self, begin: int, end: int, width: int) -> str:
        data = self._file.main[begin:end]
        if width == 1:
            return data.decode("latin-1").translate(_ANSI_TABLE)
        return data.decode("utf-16-le", "surrogatepass")

    def _written(self, text: str) -> str:
        kept: list[str] = []
        for part in _FIELD.split(text):
            if part == "\x13":
                self._fields.begin()
            elif part == "\x14":
                self._fields.separate()
            elif part == "\x15":
                self._fields.end()
            elif not self._fields.quiet:
                kept.append(part)
            else:
                self._fields.instruct(part)
        self._fields.end_paragraph()
        return "".join(kept).translate(_WRITTEN).strip()


_ANSI_TABLE = {code: _ANSI[code] for code in range(0x80, 0xA0)}


def _is_out(look: Looks) -> bool:
    codes = changes(look) if look.changes else {}
    return codes.get(_DELETED) == 1 or codes.get(_HIDDEN) == 1


def _clipped(piece: Piece, first: int, end: int) -> Piece:
    begins, ends = max(piece.first, first), min(piece.end, end)
    offset = piece.offset + (begins - piece.first) * piece.width
    return Piece(begins, max(begins, ends), offset, piece.width)


def _bytes_before(text: str, at: int, width: int) -> int:
    if width == 1 or text.isascii():
        return at * width
    return len(text[:at].encode("utf-16-le", "surrogatepass"))
