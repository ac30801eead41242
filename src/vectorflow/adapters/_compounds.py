"""OLE compound files: what Office wrote before 2007, and wraps encrypted documents into."""

import codecs
import struct
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO, Protocol, cast

from vectorflow.adapters._filled import Filled
from vectorflow.adapters._properties import properties
from vectorflow.errors import BrokenFile, LimitExceeded

MAX_STREAM = 256 << 20
"""Bytes of a stream that is read whole."""

_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Compound(Protocol):
    """As much of a compound file as is used here; olefile has no types of its own."""

    def exists(self, name: str, /) -> bool: ...
    def get_size(self, name: str, /) -> int: ...
    def openstream(self, name: str, /) -> BinaryIO: ...
    def get_metadata(self) -> "_Metadata": ...


class _Metadata(Protocol):
    @property
    def codepage(self) -> int | None: ...
    @property
    def title(self) -> bytes | None: ...
    @property
    def author(self) -> bytes | None: ...
    @property
    def subject(self) -> bytes | None: ...
    @property
    def keywords(self) -> bytes | None: ...
    @property
    def create_time(self) -> datetime | None: ...
    @property
    def last_saved_time(self) -> datetime | None: ...


def is_compound(head: bytes) -> bool:
    """Tell by the first bytes of a file."""
    return head.startswith(_SIGNATURE)


def read_head(source: BinaryIO) -> bytes:
    """Give the first bytes, enough for a signature, and go back to the start."""
    head = Filled(source).read(len(_SIGNATURE))
    source.seek(0)
    return head


@contextmanager
def compound(source: BinaryIO) -> Generator[Compound]:
    """Open a compound file; the source stays open.

    Raises:
        BrokenFile: It is none, or is damaged; also when damage is found while it is used.
    """
    import olefile  # noqa: PLC0415 - most processes read no old Office files

    try:
        # It asks for the methods that `Filled` has, and declares all that files have.
        with olefile.OleFileIO(cast("BinaryIO", Filled(source))) as file:
            yield cast("Compound", file)  # olefile declares None what it fills in later
    except (OSError, struct.error, IndexError, ValueError):
        raise BrokenFile("its OLE container is damaged") from None


def read_stream(file: Compound, name: str) -> bytes:
    """Read a stream of at most `MAX_STREAM` bytes.

    Raises:
        LimitExceeded: It is longer.
        BrokenFile: There is none of that name.
    """
    if not file.exists(name):
        raise BrokenFile("its OLE container lacks a part")
    if file.get_size(name) > MAX_STREAM:
        raise LimitExceeded("size", f"a part of it has more than {MAX_STREAM:,} bytes")
    with file.openstream(name) as stream:
        return stream.read()


def said(file: Compound) -> dict[str, str]:
    """What the document says of itself."""
    meta = file.get_metadata()
    codec = _codec(meta.codepage)
    texts = (
        ("title", meta.title),
        ("author", meta.author),
        ("subject", meta.subject),
        ("keywords", meta.keywords),
    )
    written = [(name, text.decode(codec, "ignore")) for name, text in texts if text]
    dates = (("created", meta.create_time), ("modified", meta.last_saved_time))
    return properties([*written, *((name, at.isoformat()) for name, at in dates if at)])


def _codec(codepage: int | None) -> str:
    """Name an encoding by its number, which may have come out negative."""
    name = f"cp{(codepage or 1252) % (1 << 16)}"
    try:
        return codecs.lookup({"cp65001": "utf-8", "cp1200": "utf-16-le"}.get(name, name)).name
    except LookupError:
        return "cp1252"
