"""Reading a source whose reads may give less than asked."""

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from vectorflow.errors import LimitExceeded

_STEP = 1 << 20


def whole(source: BinaryIO, most: int, *, fix: str = "") -> bytes:
    """Read a document to its end.

    Raises:
        LimitExceeded: It has more than `most` bytes.
    """
    read = BytesIO()
    while data := source.read(min(_STEP, most + 1 - read.tell())):
        read.write(data)
        if read.tell() > most:
            message = f"it is longer than {most:,} bytes, and its type can only be read whole"
            raise LimitExceeded("size", message, fix=fix)
    return read.getvalue()


def steps(source: BinaryIO, size: int) -> Iterator[bytes]:
    """Read a document in blocks of `size` bytes; only the last is shorter."""
    while block := b"".join(_reads(source, size)):
        yield block


def _reads(source: BinaryIO, missing: int) -> Iterator[bytes]:
    while missing and (data := source.read(missing)):
        missing -= len(data)
        yield data
