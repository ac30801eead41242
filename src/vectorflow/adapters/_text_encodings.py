"""Which encoding text has that does not say so."""

import codecs
import unicodedata
from collections.abc import Mapping

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_CODECS: Mapping[str, tuple[str, ...]] = {
    "windows-1252": (),
    "big5": ("cp950", "big5hkscs"),
    "euc-jp": ("euc_jp", "euc_jis_2004"),
    "euc-kr": ("cp949",),
    "shift_jis": ("cp932",),
}
"""What the detector calls an encoding -> codecs that read more of it than the one of that name."""

_ESCAPES = (
    (b"\x1b$)C", "iso2022_kr"),
    (b"\x1b$B", "iso2022_jp_ext"),
    (b"\x1b$@", "iso2022_jp_ext"),
)

_TOO_FEW = 4
"""Bytes; on pages of manuals in nine Western languages nearly all wrong guesses had less."""

_LOOKED_AT = 4096
"""Characters that decide whether wide text is text."""

_PRINTABLE = range(0x20, 0x7F)
_NO_TEXT = frozenset({"Cc", "Cn", "Co", "Cs"})


def marked(head: bytes) -> tuple[bytes, str]:
    """Give the byte order mark that a source begins with and its encoding; both empty without."""
    return next(((mark, name) for mark, name in _BOMS if head.startswith(mark)), (b"", ""))


def unmarked(head: bytes) -> str:
    """Name an encoding that its first bytes give away; empty where they do not.

    That is UTF-16 or UTF-32 without a mark by its NULs, and ISO-2022 by its escapes.
    """
    if b"\0" not in head:
        found = (codec for escape, codec in _ESCAPES if escape in head)
        return next((codec for codec in found if _fits(head, codec, whole=False)), "")
    for name in ("utf-32-le", "utf-32-be"):
        if _is_wide_text(head, name):
            return name
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd >= even and _is_wide_text(head, "utf-16-le"):
        return "utf-16-le"
    return "utf-16-be" if even >= odd and _is_wide_text(head, "utf-16-be") else ""


def _is_wide_text(head: bytes, encoding: str) -> bool:
    """Tell whether bytes read as an encoding are text that has no other explanation."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)[:_LOOKED_AT]
    except UnicodeDecodeError:
        return False
    strange = sum(unicodedata.category(char) in _NO_TEXT for char in text) - sum(
        map(text.count, "\t\n\r\f\v\x1b")
    )
    wide = [ord(char) for char in text if char > "\xff"]
    pairs = sum(code >> 8 in _PRINTABLE and code & 0xFF in _PRINTABLE for code in wide)
    return bool(text) and "\0" not in text and strange * 50 <= len(text) and pairs * 2 <= len(wide)


def guess(window: bytes, *, whole: bool) -> str:
    """Name the codec of bytes that are not UTF-8; `utf-8` where they nearly are, or may be cp1252.

    The detector is that of Firefox. Fewer than `_TOO_FEW` bytes beyond ASCII are a toss of a coin:
    French in cp1252 is as likely Polish in cp1250. They stay with cp1252, the most common one, and
    so does what the guess does not fit. Hungarian is often taken for it too, with two letters
    wrong; encodings that browsers do not know (cp855, Johab) are taken for others or refused.

    Args:
        window: The source from the first such byte on.
        whole: Whether it reaches to the end of the source; else a character may be cut there.
    """
    from chardetng_py import EncodingDetector  # noqa: PLC0415 - most documents need none

    text = window.decode("utf-8", "surrogateescape")
    foreign = len(text) - len(window.decode("utf-8", "ignore"))
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    if foreign < _TOO_FEW or beyond_ascii >= 2 * foreign:
        return "utf-8"
    detector = EncodingDetector()
    detector.feed(window, last=whole)
    name = detector.guess(tld=None, allow_utf8=False).lower()
    codecs_of_it = _CODECS.get(name, (name,))
    return next((codec for codec in codecs_of_it if _fits(window, codec, whole=whole)), "utf-8")


def _fits(data: bytes, codec: str, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(data, final=whole)
    except UnicodeDecodeError:
        return False
    return True
