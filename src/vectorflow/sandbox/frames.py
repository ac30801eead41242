"""What travels between a worker and its children: frames of a JSON object and raw bytes."""

import os
import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple

import orjson

MAX_HEAD = 4 << 20
"""Bytes of JSON in one frame."""

MAX_BODY = 128 << 20
"""Bytes beside it: more than anything attached to a document may have."""

_LENGTHS = struct.Struct(">II")
_PIECE = 1 << 16
"""Bytes read at once, unless more are missing."""
_MOST_PIECE = 1 << 20


class Malformed(Exception):
    """The other side sent something that is no frame."""


class Frame(NamedTuple):
    """One message."""

    head: Mapping[str, object]
    body: bytes


def packed(head: Mapping[str, object], body: bytes = b"") -> bytes:
    """Write a frame."""
    written = orjson.dumps(head)
    return b"".join((_LENGTHS.pack(len(written), len(body)), written, body))


class Channel:
    """One end of a connection. Times out as its socket is told to."""

    def __init__(self, connection: socket.socket, *, takes_files: bool = False) -> None:
        """Take the socket.

        Descriptors that come along are kept only if it `takes_files`: a worker takes none, it does
        not trust its children.
        """
        self._connection = connection
        self._takes_files = takes_files
        self._waiting = bytearray()
        self._files: list[int] = []

    @property
    def is_behind(self) -> bool:
        """Whether something was read that is not received yet."""
        return bool(self._waiting)

    def send(self, frames: bytes) -> None:
        """Send whole frames."""
        self._connection.sendall(frames)

    def send_with_file(self, frame: bytes, file: int) -> None:
        """Send a frame and a descriptor that belongs to it."""
        sent = socket.send_fds(self._connection, [frame], [file])
        self._connection.sendall(frame[sent:])

    def receive(self) -> Frame | None:
        """Wait for a frame; None once the other side is gone, also in the middle of one.

        Raises:
            Malformed: It is too long, or is no JSON object.
            TimeoutError: Nothing came.
        """
        if not self._has(_LENGTHS.size):
            return None
        head_length, body_length = _LENGTHS.unpack(self._take(_LENGTHS.size))
        if head_length > MAX_HEAD or body_length > MAX_BODY:
            raise Malformed
        if not self._has(head_length + body_length):
            return None
        return Frame(_parsed(self._take(head_length)), self._take(body_length))

    def take_file(self) -> int:
        """Give the descriptor that came with the frame.

        Raises:
            Malformed: There was none.
        """
        if not self._files:
            raise Malformed
        return self._files.pop(0)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
        while self._files:
            os.close(self._files.pop())

    def _has(self, count: int) -> bool:
        """Read until there are so many bytes."""
        while (missing := count - len(self._waiting)) > 0:
            data = self._read(min(max(missing, _PIECE), _MOST_PIECE))
            if not data:
                return False
            self._waiting += data
        return True

    def _read(self, size: int) -> bytes:
        try:
            if not self._takes_files:
                return self._connection.recv(size)
            data, files, _, _ = socket.recv_fds(self._connection, size, 1)
        except ConnectionError:
            return b""
        self._files += files
        return data

    def _take(self, count: int) -> bytes:
        with memoryview(self._waiting) as view:
            taken = bytes(view[:count])
        del self._waiting[:count]
        return taken


def _parsed(head: bytes) -> Mapping[str, object]:
    try:
        parsed: object = orjson.loads(head)
    except orjson.JSONDecodeError:
        raise Malformed from None
    if not isinstance(parsed, dict):
        raise Malformed
    return parsed
