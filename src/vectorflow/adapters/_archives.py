"""ZIP archives of strangers: looked over before any library reads them."""

import os
import re
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from vectorflow.adapters._filled import Filled
from vectorflow.errors import BrokenFile, EncryptedFile, LimitExceeded

MAX_ENTRIES = 20_000
"""Books with a picture on every page have some thousands."""

MAX_DIRECTORY = 8 << 20
"""Bytes of the list of entries, which is read at once."""

MAX_UNPACKED = 2 << 30
"""Bytes of all entries together, films in slides included."""

MAX_RATIO = 200
"""Bytes unpacked for one byte of the archive. Spreadsheets reach 60, bombs begin at 1,000."""

HARMLESS = 64 << 20
"""Bytes that may be unpacked whatever the ratio."""

MAX_DEPTH = 32
"""Folders that an entry may lie in."""

_SEPARATORS = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:")
_METHODS = frozenset({ZIP_STORED, ZIP_DEFLATED})
_IS_ENCRYPTED = 0x1
_DAMAGES = (BadZipFile, EOFError, zlib.error)
"""What `zipfile` raises where an entry is damaged."""

_NO_ARCHIVE = (*_DAMAGES, NotImplementedError, OverflowError, UnicodeDecodeError, struct.error)
"""What it raises where the directory is damaged, or needs a later version of ZIP."""


@contextmanager
def opened(source: BinaryIO) -> Generator[ZipFile]:
    """Give the archive once it was found harmless; the source stays open.

    Sizes are what its directory says: read entries with `read`, which counts for itself.

    Raises:
        LimitExceeded: It has too many entries, or unpacks to too much.
        EncryptedFile: An entry needs a password.
        BrokenFile: It is no archive, is damaged, or has a name that leads out of it; also when
            `zipfile` finds damage while the archive is used.
    """
    try:
        archive = ZipFile(_Guarded(source))
    except _NO_ARCHIVE:
        raise BrokenFile("its ZIP archive is damaged") from None
    with archive:
        _check(archive.infolist(), source.seek(0, os.SEEK_END))
        source.seek(0)
        try:
            yield archive
        except _DAMAGES:
            raise BrokenFile("its ZIP archive is damaged") from None


def read(archive: ZipFile, name: str, most: int) -> bytes:
    """Unpack an entry of at most so many bytes, whatever its header says.

    Raises:
        LimitExceeded: It is longer.
        BrokenFile: There is no such entry, or it is damaged.
    """
    try:
        with archive.open(name) as entry:
            data = entry.read(most + 1)
    except KeyError:
        raise BrokenFile("its ZIP archive lacks a part") from None
    except _NO_ARCHIVE:
        raise BrokenFile("a part of its ZIP archive is damaged") from None
    if len(data) > most:
        raise LimitExceeded(
            "size", f"a part of its ZIP archive unpacks to more than {most:,} bytes"
        )
    return data


class _Guarded(Filled):
    """Refuses to read at once what only a directory of a great many entries could need.

    `zipfile` reads entries in small steps, but the directory whole.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read(MAX_DIRECTORY)
        if size > MAX_DIRECTORY:
            raise _too_many()
        return super().read(size)


def _check(entries: list[ZipInfo], size: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _too_many()
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED:
        message = f"its ZIP archive unpacks to {unpacked:,} bytes, {MAX_UNPACKED:,} are allowed"
        raise LimitExceeded("size", message)
    if unpacked > max(HARMLESS, size * MAX_RATIO):
        message = f"its ZIP archive of {size:,} bytes unpacks to {unpacked:,}"
        raise LimitExceeded("ratio", message)
    for entry in entries:
        _check_entry(entry)


def _check_entry(entry: ZipInfo) -> None:
    if entry.flag_bits & _IS_ENCRYPTED:
        raise EncryptedFile("its ZIP archive needs a password")
    if entry.compress_type not in _METHODS or entry.header_offset < 0:
        raise BrokenFile("its ZIP archive is packed as documents never are")
    folders = _SEPARATORS.split(entry.orig_filename)
    if folders[0] == "" or _DRIVE.match(folders[0]) or ".." in folders:
        raise BrokenFile("its ZIP archive has names that lead out of it")
    if len(folders) > MAX_DEPTH:
        message = f"its ZIP archive has folders more than {MAX_DEPTH} deep"
        raise LimitExceeded("depth", message)


def _too_many() -> LimitExceeded:
    return LimitExceeded("entries", f"its ZIP archive has more than {MAX_ENTRIES:,} entries")
