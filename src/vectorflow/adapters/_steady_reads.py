"""A source as libraries that jump about in files expect one."""

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def steady(source: BinaryIO) -> io.BufferedReader:
    """Give a source whose reads return as much as was asked for, until it ends."""
    return io.BufferedReader(_Unsteady(source), 1 << 16)


class _Unsteady(io.RawIOBase):
    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._source.seek(offset, whence)

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        room = memoryview(buffer).cast("B")
        data = self._source.read(len(room))
        room[: len(data)] = data
        return len(data)
