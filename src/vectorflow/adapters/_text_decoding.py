"""Bytes -> text, in pieces: what the extractors of plain formats share."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import BinaryIO

from vectorflow.adapters._text_encodings import guess, marked, unmarked
from vectorflow.errors import BinaryContent

BLOCK_BYTES = 1 << 16

WINDOW_BLOCKS = 4
"""Blocks that are looked at, from the first byte on that is not UTF-8, to tell the encoding."""

_FOREIGN = re.compile(r"[\udc80-\udcff]+")
"""Bytes that are not UTF-8, as `surrogateescape` shows them."""

_CONTROL = re.compile(
    r"[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\udc81\udc8d\udc8f\udc90\udc9d]"
)
"""Control characters that text has no use for, and bytes without a meaning in cp1252.

Escape and backspace are not among them: logs are coloured with them.
"""

_CONTROL_BYTES = bytes((*range(1, 8), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F))
"""Those of them that are ASCII."""

_FEW_FOREIGN = 16


def decoded(source: BinaryIO) -> Iterator[str]:
    """Decode a source piece by piece; the pieces do not depend on how much each read returns.

    A byte order mark, which is left out, tells the encoding; so do the NULs of UTF-16 and UTF-32
    without one. All else is UTF-8 up to the first byte that is not. From there on it is what
    `guess` makes of the next `WINDOW_BLOCKS`, where nothing but ASCII came before, and must be so
    to the end. Where there is no guess it stays UTF-8, and bytes that are not are read as cp1252,
    one by one, while they are less than a fifth.

    Raises:
        BinaryContent: A NUL, more than one control character in fifty, an encoding that could not
            be told, or bytes that do not fit the one that was.
    """
    blocks = _blocks(source)
    head = next(blocks, b"")
    mark, encoding = marked(head)
    if not mark:
        encoding = unmarked(head)
    rest = chain((head[len(mark) :],), blocks)
    if mark or encoding:
        yield from _decode(encoding, rest, len(mark))
    else:
        yield from _decode_unmarked(rest)


def _decode_unmarked(blocks: Iterator[bytes]) -> Iterator[str]:
    """Decode UTF-8 as long as it is, and then as what it seems to be."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    read, only_ascii = 0, True
    for block in chain(blocks, (b"",)):
        pending, _ = decoder.getstate()
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            window = [pending + block, *islice(blocks, WINDOW_BLOCKS - 1)]
            whole = len(window) < WINDOW_BLOCKS
            encoding = guess(b"".join(window), whole=whole) if only_ascii else "utf-8"
            yield from _decode(encoding, chain(window, blocks), read - len(pending))
            return
        read += len(block)
        only_ascii = only_ascii and text.isascii()
        _refuse_binary(text, "utf-8", read - len(pending) - len(block))
        if text:
            yield text


def _decode(encoding: str, blocks: Iterable[bytes], read: int) -> Iterator[str]:
    """Decode the rest of a source, of which so many bytes came before."""
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    for block in chain(blocks, (b"",)):
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
            yield text if text.isascii() else _western(text)


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
    controls = _controls(text)
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


def _controls(text: str) -> int:
    if text.isascii():  # bytes are searched in a tenth of the time
        return len(text) - len(text.encode().translate(None, _CONTROL_BYTES))
    return sum(1 for _ in _CONTROL.finditer(text))


def _byte(text: str, at: int, encoding: str, begins: int) -> int:
    errors = "surrogateescape" if encoding == "utf-8" else "replace"
    return begins + len(text[:at].encode(encoding, errors))


def _western(text: str) -> str:
    """Show bytes that are not UTF-8 as the characters that they are in cp1252."""
    if not _FOREIGN.search(text):
        return text
    try:
        return text.encode("ascii", "surrogateescape").decode("cp1252")
    except UnicodeError:
        return _FOREIGN.sub(_as_cp1252, text)


def _as_cp1252(run: re.Match[str]) -> str:
    return run[0].translate(_CP1252)


def _cp1252(byte: int) -> str:
    try:
        return bytes((byte,)).decode("cp1252")
    except UnicodeDecodeError:  # five bytes have no meaning; browsers show them so too
        return chr(byte)


_CP1252 = {0xDC00 + byte: _cp1252(byte) for byte in range(0x80, 0x100)}
