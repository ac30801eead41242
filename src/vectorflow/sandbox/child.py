"""The process in which extractors run: `python -m vectorflow.sandbox.child ORDERS`."""

import fcntl
import io
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import (
    BrokenFile,
    DocumentFailed,
    LimitExceeded,
    UnsupportedFormat,
    VectorFlowError,
)
from vectorflow.ports.extractor import Extractor
from vectorflow.sandbox.frames import Channel, Frame, packed
from vectorflow.sandbox.limits import (
    Limits,
    limit_cpu,
    limit_resources,
    out_of_memory,
    too_much_output,
)
from vectorflow.sandbox.orders import Orders
from vectorflow.sandbox.pieces import END, packed_failure, packed_piece
from vectorflow.sandbox.walls import raise_walls

_FULL = 1 << 16
"""Bytes of frames that are sent together."""
_LATE = 1.0
"""Seconds after which they are sent in any case, as a sign of life."""


def main() -> None:
    """Serve one document after the other until the worker hangs up."""
    orders = Orders.parsed(sys.argv[1])
    os.set_blocking(sys.stderr.fileno(), False)
    _die_with(orders.lifeline)
    _volunteer()
    limit_resources(orders.limits)
    _resident()  # what it reads stays open
    walls = raise_walls(orders.places)
    channel = Channel(socket.socket(fileno=orders.channel), takes_files=True)
    channel.send(packed({"is": "ready", "walls": walls}))
    answers = _Answers(channel, orders.limits)
    while request := channel.receive():
        limit_cpu(orders.limits)
        _serve(channel, request, answers)


def _die_with(lifeline: int) -> None:
    """Let the kernel end this process when the pipe breaks, whatever it is doing then."""
    if sys.platform != "linux":
        threading.Thread(target=_end_after, args=(lifeline,), daemon=True).start()
        return
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _volunteer() -> None:
    """Be what the system ends first when memory runs out: the worker shall live."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _end_after(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _serve(channel: Channel, request: Frame, answers: "_Answers") -> None:
    """Extract one document; whatever becomes of it, there is an answer."""
    answers.begin()
    try:
        with _source(channel, request) as source:
            for piece in _loaded(str(request.head["extractor"]))().extract(source):
                answers.add(piece)
        answers.end()
    except BaseException as error:  # noqa: BLE001 - the child's edge: libraries raise what they like
        answers.fail(_failure(error, answers.limits))


def _source(channel: Channel, request: Frame) -> BinaryIO:
    if not request.head["file"]:
        return io.BytesIO(request.body)
    file = channel.take_file()
    os.lseek(file, 0, os.SEEK_SET)  # it is shared with children that had it before
    return os.fdopen(file, "rb")


@cache
def _loaded(name: str) -> type[Extractor]:
    module, _, path = name.partition(":")
    found: object = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not isinstance(found, type):
        raise TypeError(name)
    return found


def _failure(error: BaseException, limits: Limits) -> VectorFlowError:
    """Say what happened without a word of the document, which messages of libraries quote."""
    what = type(error).__name__
    if isinstance(error, DocumentFailed):
        return error
    if isinstance(error, VectorFlowError):
        return DocumentFailed(error.message, fix=error.fix)
    if isinstance(error, MemoryError):
        return out_of_memory(limits)
    if isinstance(error, RecursionError):
        return LimitExceeded("depth", "it is nested too deeply")
    if isinstance(error, ImportError):
        message = f"what reads this type cannot be loaded in the sandbox ({what})"
        return UnsupportedFormat(message, fix="install it anew, then ask `vectorflow doctor`")
    return BrokenFile(f"what reads this type does not get through it ({what})")


class _Answers:
    """Sends pieces as they come, several small ones at once, also of documents that came at once.

    To wake the worker for each would cost more than to read a small document.
    """

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self._channel = channel
        self.limits = limits
        self._left = 0
        self._waiting: list[bytes] = []
        self._size = 0
        self._sent_at = time.monotonic()

    def begin(self) -> None:
        """Turn to the next document."""
        self._left = self.limits.output
        if not self._waiting:
            self._sent_at = time.monotonic()

    def add(self, piece: Section | Attached) -> None:
        self._left -= len(piece.text if isinstance(piece, Section) else piece.data)
        if self._left < 0:
            raise too_much_output(self.limits)
        self._put(packed_piece(piece))
        self._flush_in_time()

    def end(self) -> None:
        self._finish(packed({"is": END, "resident": _resident()}))

    def fail(self, error: VectorFlowError) -> None:
        self._finish(packed_failure(error, _resident()))

    def _finish(self, frame: bytes) -> None:
        self._put(frame)
        if self._channel.is_behind:
            self._flush_in_time()
        else:
            self._flush()

    def _flush_in_time(self) -> None:
        if self._size >= _FULL or time.monotonic() - self._sent_at >= _LATE:
            self._flush()

    def _put(self, frame: bytes) -> None:
        self._waiting.append(frame)
        self._size += len(frame)

    def _flush(self) -> None:
        self._channel.send(b"".join(self._waiting))
        self._waiting.clear()
        self._size = 0
        self._sent_at = time.monotonic()


def _resident() -> int:
    """Give the bytes of memory that this process has now; its peak would be that of the worker.

    The kernel lets a process that is started begin with the peak of the one that starts it.
    """
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(os.pread(_statm(), 100, 0).split()[1]) * resource.getpagesize()


@cache
def _statm() -> int:
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


if __name__ == "__main__":
    main()
