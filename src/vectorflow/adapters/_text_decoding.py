"""Bytes -> text, in pieces: what the extractors of plain formats share."""

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from vectorflow.errors import BinaryContent

BLOCK_BYTES = 1 << 16

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_FOREIGN = re.compile(r"[\udc80-\udcff]+")
"""Bytes that are not UTF-8, as `surrogateescape` shows them."""

_CONTROL = re.compile(
    r"[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\udc81\udc8d\udc8f\udc90\udc9d]"
)
"""Control characters that text has no use for, and bytes without a meaning in cp1252.

Escape and backspace are not among them: logs are coloured with them.
"""

_FEW_FOREIGN = 16


def decoded(source: BinaryIO) -> Iterator[str]:
    """Decode a source piece by piece; the pieces do not depend on how much each read returns.

    UTF-8, or UTF-16 and UTF-32 with a byte order mark, which is left out. Bytes that are not UTF-8
    are read as cp1252, one by one, while they are less than a fifth: more are another encoding.

    Raises:
        BinaryContent: A NUL, more than one control character in fifty, another encoding, or
            broken UTF-16 or UTF-32.
    """
    blocks = _blocks(source)
    head = next(blocks, b"")
    found = ((mark, name) for mark, name in _BOMS if head.startswith(mark))
    mark, encoding = next(found, (b"", "utf-8"))
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    read = len(mark)
    for block in chain((head[len(mark) :],), blocks, (b"",)):
        begins = read - len(decoder.getstate()[0])
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            where = begins + error.start
            # Not `from error`: it carries the bytes of the document.
            raise BinaryContent(f"broken {encoding.upper()} at byte {where}") from None
        read += len(block)
        _refuse_binary(text, encoding, begins)
        if text:
            yield text if text.isascii() else _FOREIGN.sub(_as_cp1252, text)


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    while block := b"".join(_reads(source)):
        yield block


def _reads(source: BinaryIO) -> Iterator[bytes]:
    """Read until one block is full: a read may return less than asked."""
    missing = BLOCK_BYTES
    while missing and (data := source.read(missing)):
        missing -= len(data)
        yield data


def _refuse_binary(text: str, encoding: str, begins: int) -> None:
    if (at := text.find("\0")) >= 0:
        raise BinaryContent(f"a NUL at byte {_byte(text, at, encoding, begins)}")
    controls = sum(1 for _ in _CONTROL.finditer(text))
    if controls * 50 > len(text):
        at = next(_CONTROL.finditer(text)).start()
        where = _byte(text, at, encoding, begins)
        raise BinaryContent(f"{controls} control characters, the first at byte {where}")
    if text.isascii() or encoding != "utf-8":
        return
    foreign = sum(len(run) for run in _FOREIGN.findall(text))
    if foreign > _FEW_FOREIGN and foreign * 5 > len(text):
        at = next(_FOREIGN.finditer(text)).start()
        where = _byte(text, at, encoding, begins)
        raise BinaryContent(f"neither UTF-8 nor Western text from byte {where}")


def _byte(text: str, at: int, encoding: str, begins: int) -> int:
    return begins + len(text[:at].encode(encoding, "surrogateescape"))


def _as_cp1252(run: re.Match[str]) -> str:
    return run[0].translate(_CP1252)


def _cp1252(byte: int) -> str:
    try:
        return bytes((byte,)).decode("cp1252")
    except UnicodeDecodeError:  # five bytes have no meaning; browsers show them so too
        return chr(byte)


_CP1252 = {0xDC00 + byte: _cp1252(byte) for byte in range(0x80, 0x100)}
