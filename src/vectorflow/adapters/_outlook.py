"""Reads messages of Outlook: properties in a compound file (MS-OXMSG)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cached_property
from typing import BinaryIO, Protocol

from vectorflow.adapters._mail_decoding import text_of

_WIDE_TEXT, _NARROW_TEXT, _BYTES, _OBJECT = 0x001F, 0x001E, 0x0102, 0x000D
_ROW = struct.Struct("<HHIQ")
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)

_MAIL_HEAD, _INNER_HEAD, _PART_HEAD = 32, 24, 8
"""Bytes before the rows of fixed properties."""

_FIXED = "__properties_version1.0"

_RTF_HEAD = struct.Struct("<IIII")
_PACKED, _PLAIN = 0x75465A4C, 0x414C454D
_WINDOW = 4096
_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern "
    b"\\fscript \\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0"
    b"\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)

_CODE_PAGES = {
    20127: "ascii",
    20866: "koi8-r",
    20932: "euc-jp",
    21866: "koi8-u",
    50220: "iso2022-jp",
    50221: "iso2022-jp",
    50222: "iso2022-jp",
    51932: "euc-jp",
    51949: "euc-kr",
    52936: "hz",
    54936: "gb18030",
    65000: "utf-7",
    65001: "utf-8",
}
_LATIN = range(28591, 28606)


class Property(IntEnum):
    """Numbers of properties. Source: MS-OXPROPS."""

    SUBJECT = 0x0037
    SUBMITTED = 0x0039
    RECIPIENT_TYPE = 0x0C15
    SENDER_NAME = 0x0C1A
    SENDER_ADDRESS = 0x0C1F
    DELIVERED = 0x0E06
    BODY = 0x1000
    RTF = 0x1009
    HTML = 0x1013
    DISPLAY_NAME = 0x3001
    ADDRESS = 0x3003
    DATA = 0x3701
    SHORT_FILE_NAME = 0x3704
    METHOD = 0x3705
    FILE_NAME = 0x3707
    MEDIA_TYPE = 0x370E
    CONTENT_ID = 0x3712
    SMTP_ADDRESS = 0x39FE
    BODY_CODE_PAGE = 0x3FDE
    CODE_PAGE = 0x3FFD
    SENDER_SMTP_ADDRESS = 0x5D01


class CompoundFile(Protocol):
    """What is used of `olefile.OleFileIO`."""

    def listdir(self, streams: bool = True, storages: bool = False) -> list[list[str]]:
        """List the paths of entries."""
        ...

    def exists(self, filename: list[str]) -> bool:
        """Tell whether there is an entry; letter case does not matter."""
        ...

    def openstream(self, filename: list[str]) -> BinaryIO:
        """Open a stream."""
        ...


@dataclass(frozen=True)
class Storage:
    """A message, recipient or attachment: properties below a folder of the compound file."""

    file: CompoundFile
    path: tuple[str, ...] = ()
    head: int = _MAIL_HEAD

    def exists(self) -> bool:
        """Tell whether it is one: each has properties."""
        return self.file.exists([*self.path, _FIXED])

    def text(self, wanted: Property) -> str:
        """Give the text of a property; empty where there is none."""
        if wide := self._stream(wanted, _WIDE_TEXT):
            return wide.decode("utf-16-le", "ignore").rstrip("\0")
        narrow = self._stream(wanted, _NARROW_TEXT)
        pages = (Property.CODE_PAGE, Property.BODY_CODE_PAGE)
        order = reversed(pages) if wanted is Property.BODY else pages
        page = next((number for one in order if (number := self.number(one))), 0)
        return text_of(narrow, charset_of(page)).rstrip("\0")

    def data(self, wanted: Property) -> bytes:
        """Give the bytes of a property; empty where there are none."""
        return self._stream(wanted, _BYTES)

    def number(self, wanted: Property) -> int:
        """Give a whole number of 32 bits; 0 where there is none."""
        return self._fixed.get(wanted, 0) & 0xFFFFFFFF

    def instant(self, wanted: Property) -> datetime | None:
        """Give a date; None where there is none."""
        microseconds = self._fixed.get(wanted, 0) // 10
        try:
            return _EPOCH + timedelta(microseconds=microseconds) if microseconds else None
        except OverflowError:
            return None

    def recipients(self) -> "Iterator[Storage]":
        """Give the recipients in order."""
        return self._below("__recip_version1.0_#", _PART_HEAD)

    def attachments(self) -> "Iterator[Storage]":
        """Give the attachments in order."""
        return self._below("__attach_version1.0_#", _PART_HEAD)

    def message(self) -> "Storage | None":
        """Give the message that an attachment is; None where it is something else."""
        path = (*self.path, f"__substg1.0_{Property.DATA:04X}{_OBJECT:04X}")
        inner = Storage(self.file, path, _INNER_HEAD)
        return inner if inner.exists() else None

    def _below(self, prefix: str, head: int) -> "Iterator[Storage]":
        depth = len(self.path)
        names = {
            entry[depth]
            for entry in self.file.listdir(streams=False, storages=True)
            if len(entry) == depth + 1 and tuple(entry[:depth]) == self.path
        }
        for name in sorted(names):
            if name.lower().startswith(prefix):
                yield Storage(self.file, (*self.path, name), head)

    def _stream(self, wanted: Property, kind: int) -> bytes:
        return self._read(f"__substg1.0_{wanted:04X}{kind:04X}")

    def _read(self, name: str) -> bytes:
        path = [*self.path, name]
        if not self.file.exists(path):
            return b""
        with self.file.openstream(path) as stream:
            return stream.read()

    @cached_property
    def _fixed(self) -> dict[int, int]:
        """Values of properties that have 8 bytes at most."""
        rows = self._read(_FIXED)[self.head :]
        whole = rows[: len(rows) // _ROW.size * _ROW.size]
        return {number: value for _, number, _, value in _ROW.iter_unpack(whole)}


def charset_of(page: int) -> str:
    """Name the charset of a code page of Windows; empty where there is none."""
    if page in _LATIN:
        return f"iso8859-{page - _LATIN.start + 1}"
    return _CODE_PAGES.get(page, f"cp{page}" if page else "")


def unpacked(rtf: bytes) -> bytes:
    """Unpack the RTF of a message (MS-OXRTFCP); empty where it is broken."""
    if len(rtf) < _RTF_HEAD.size:
        return b""
    _, length, method, _ = _RTF_HEAD.unpack_from(rtf)
    if method == _PLAIN:
        return rtf[_RTF_HEAD.size :][:length]
    return _decompressed(rtf[_RTF_HEAD.size :])[:length] if method == _PACKED else b""


def _decompressed(packed: bytes) -> bytes:
    """Follow references into the last 4,096 bytes, which begin with what most RTF has."""
    written = bytearray(_DICTIONARY)
    at = 0
    while at < len(packed):
        flags, at = packed[at], at + 1
        for bit in range(8):
            if flags >> bit & 1:
                pair = int.from_bytes(packed[at : at + 2], "big")
                at += 2
                back = (len(written) - (pair >> 4)) % _WINDOW
                if at > len(packed) or back == 0:
                    return bytes(written[len(_DICTIONARY) :])
                _copy(written, back, (pair & 0xF) + 2)
            elif at < len(packed):
                written.append(packed[at])
                at += 1
    return bytes(written[len(_DICTIONARY) :])


def _copy(written: bytearray, back: int, length: int) -> None:
    for _ in range(length):
        written.append(written[-back] if back <= len(written) else 0)
