"""RTF taken apart: control words, characters and braces.

Source: Microsoft, "Rich Text Format (RTF) Specification", version 1.9.1.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

_READ = 1 << 16

_LONGEST_WORD = 64
"""Bytes; a control word has 44 at most, its number included."""

_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?[0-9]{1,9})? ?"
    rb"|\\'([0-9A-Fa-f]{2})"
    rb"|\\([^A-Za-z])"
    rb"|([{}])"
    rb"|([^\\{}\r\n\0]{1,4096})"
    rb"|[\r\n\0]+",
    re.DOTALL,
)

_BRACE = re.compile(rb"\\bin([0-9]{1,9}) ?|\\.|[{}]", re.DOTALL)
"""What matters in a group that is passed over."""

_CHARSETS: Mapping[int, str] = {
    77: "mac-roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "big5hkscs",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    255: "cp437",
}
"""Numbers that fonts say their characters are in; others mean the encoding of the document."""


class Token(NamedTuple):
    """One control word, character or brace, or a stretch of text."""

    word: str = ""
    """A control word, or the sign of a control symbol."""
    number: int | None = None
    """What the word says; None where it says none."""
    data: bytes = b""
    """Text in the encoding of its font."""
    brace: str = ""


class Tokens:
    """Reads a document token by token, holding little of it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._held = b""
        self._at = 0
        self._ended = False

    def __iter__(self) -> Iterator[Token]:
        while True:
            found = _TOKEN.match(self._held, self._at)
            # What the end of what is held has cut off may yet go on.
            near = len(self._held) - self._at < _LONGEST_WORD
            if (near or found is None or found.end() == len(self._held)) and not self._ended:
                self._fill()
            elif found is None:
                return
            else:
                self._at = found.end()
                yield _token(found)

    def skip(self, count: int) -> None:
        """Pass over so many bytes that are no RTF."""
        while count > len(self._held) - self._at and not self._ended:
            count -= len(self._held) - self._at
            self._at = len(self._held)
            self._fill()
        self._at = min(self._at + count, len(self._held))

    def skip_group(self) -> None:
        """Pass over the rest of a group, up to the brace that ends it."""
        depth = 1
        while depth:
            found = _BRACE.search(self._held, self._at)
            end = len(self._held) - (self._held[-1:] == b"\\")
            at = found.start() if found else end
            if not self._ended and len(self._held) - at < _LONGEST_WORD:
                self._at = max(at, self._at)
                self._fill()
            elif found is None:
                return
            elif found[1]:
                self._at = found.end()
                self.skip(int(found[1]))
            else:
                depth += {b"{": 1, b"}": -1}.get(found[0], 0)
                self._at = found.end() if depth else found.start()

    def _fill(self) -> None:
        piece = self._source.read(_READ)
        self._held = self._held[self._at :] + piece
        self._at = 0
        self._ended = not piece


def codec_of_charset(charset: int, otherwise: str) -> str:
    """Name the encoding of a font."""
    return _CHARSETS.get(charset, otherwise)


def codec_of_page(number: int) -> str:
    """Name the encoding of a code page; Windows-1252 where it is none."""
    name = "utf-8" if number == 65001 else f"cp{number}"  # noqa: PLR2004 - Windows calls it so
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"


def _token(found: re.Match[bytes]) -> Token:
    word, number, code, symbol, brace, data = found.groups()
    if data:
        return Token(data=data)
    if word:
        return Token(word=word.decode(), number=int(number) if number else None)
    if code:
        return Token(data=bytes([int(code, 16)]))
    return Token(brace=brace.decode()) if brace else Token(word=(symbol or b"").decode("latin-1"))
