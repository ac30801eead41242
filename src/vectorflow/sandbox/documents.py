"""How the bytes of a document get to a child: small ones in a message, others as an open file."""

import os
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from vectorflow.errors import OutOfSpace

INLINE = 1 << 20
"""Bytes that go in the message."""

TOGETHER = 64 << 10
"""Bytes of documents that a child is handed at once; Linux holds three times as much on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document on its way."""

    extractor: str
    """Class that reads it, `module:Class`."""
    data: bytes = b""
    file: int | None = None
    """Descriptor of a file that holds it and nothing else; None where `data` is all of it."""


@contextmanager
def handed_over(extractor: str, source: BinaryIO) -> Generator[Document]:
    """Make a source something that can be sent, as often as need be; it is read but not closed.

    A stretch of a larger file is copied: the child must not see what lies beside it.

    Raises:
        OutOfSpace: There is no room for the copy.
    """
    data = _head(source)
    if len(data) <= INLINE:
        yield Document(extractor=extractor, data=data)
    elif (file := _whole_file(source, len(data))) is not None:
        yield Document(extractor=extractor, file=file)
    else:
        with tempfile.TemporaryFile() as copy:
            try:
                copy.write(data)
                shutil.copyfileobj(source, copy, INLINE)
                copy.flush()
            except OSError as error:
                message = "there is no room for a copy of a document"
                raise OutOfSpace(message, fix="free some space for temporary files") from error
            del data
            yield Document(extractor=extractor, file=copy.fileno())


def handed_over_at_once(extractor: str, sources: Sequence[BinaryIO]) -> Iterator[list[Document]]:
    """Make small sources groups of documents that have no more than `TOGETHER` bytes.

    Raises:
        ValueError: One is too long for a message.
    """
    group: list[Document] = []
    size = 0
    for source in sources:
        data = _head(source)
        if len(data) > INLINE:
            raise ValueError(f"a source of more than {INLINE:,} bytes is not small")
        if group and size + len(data) > TOGETHER:
            yield group
            group, size = [], 0
        group.append(Document(extractor=extractor, data=data))
        size += len(data)
    if group:
        yield group


def _head(source: BinaryIO) -> bytes:
    """Read until it is clear whether the document is small: reads may give less than asked."""
    parts: list[bytes] = []
    missing = INLINE + 1
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _whole_file(source: BinaryIO, read: int) -> int | None:
    """Give the descriptor of a source that is a file of the disk, from its first byte on."""
    try:
        file = source.fileno()
        is_whole = source.tell() == read
    except (AttributeError, OSError):
        return None
    return file if is_whole and stat.S_ISREG(os.fstat(file).st_mode) else None
