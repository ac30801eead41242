"""A child as the worker has it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import DocumentFailed, ExtractorCrashed, Unavailable
from vectorflow.sandbox.documents import Document
from vectorflow.sandbox.frames import Channel, Frame, Malformed, packed
from vectorflow.sandbox.limits import Limits, out_of_cpu, out_of_memory, out_of_patience
from vectorflow.sandbox.orders import Orders
from vectorflow.sandbox.pieces import END, FAILED, failure_of, piece_of
from vectorflow.sandbox.places import Places
from vectorflow.sandbox.walls import Wall

_START_SECONDS = 60.0
_DEATH_SECONDS = 1.0
"""Longest between the last that is heard of a child and its end, if it is ending at all."""

_NOISE = 1 << 16
"""Bytes that a pipe holds."""
_SAYS_NO_MEMORY = re.compile(rb"MemoryError|bad_alloc|memory allocation of|[Oo]ut of memory")
"""What Python, C++ and Rust write before they give up."""


class ChildDied(Exception):
    """A child ended, or was ended, over a document."""

    def __init__(self, verdict: DocumentFailed) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict
        """What is wrong with the document, if it is to blame."""


class Child:
    """A process that extracts one document after the other; used by one thread at a time."""

    def __init__(self, places: Places, limits: Limits) -> None:
        """Start it.

        Raises:
            Unavailable: It does not start.
        """
        self.documents = 0
        """Documents that it is through with."""
        self.resident = 0
        """Bytes of memory it has after its last document."""
        self.walls: frozenset[Wall] = frozenset()
        self._limits = limits
        self._has_met = False
        self.waiting = 0
        """Documents that it was handed and is not through with."""
        self._noise, noise = os.pipe()
        lifeline, self._lifeline = os.pipe()
        connection, theirs = socket.socketpair()
        self._channel = Channel(connection)
        orders = Orders(channel=theirs.fileno(), lifeline=lifeline, limits=limits, places=places)
        try:
            self._process = _started(orders, noise)
        except OSError as error:
            self._hang_up()
            raise Unavailable(f"the sandbox does not start: {error.strerror}") from error
        finally:
            theirs.close()
            os.close(lifeline)
            os.close(noise)
        os.set_blocking(self._noise, False)
        connection.settimeout(_START_SECONDS)
        self._meet()
        connection.settimeout(limits.silence)

    @property
    def is_free(self) -> bool:
        """Whether it lives and has no document."""
        return self._has_met and not self.waiting and self._process.poll() is None

    def begin(self, document: Document) -> None:
        """Hand it a document.

        Raises:
            ChildDied: It does not take it.
        """
        self._hand_over(1, _request(document), document.file)

    def begin_each(self, documents: Sequence[Document]) -> None:
        """Hand it documents that are no files; one after the other is asked for with `next`.

        It sends nothing while it is told something, so they must fit into what the system holds.

        Raises:
            ChildDied: It does not take them.
        """
        self._hand_over(len(documents), b"".join(map(_request, documents)))

    def _hand_over(self, count: int, frames: bytes, file: int | None = None) -> None:
        self.waiting += count
        try:
            if file is None:
                self._channel.send(frames)
            else:
                self._channel.send_with_file(frames, file)
        except TimeoutError:
            raise ChildDied(out_of_patience(self._limits)) from None
        except ConnectionError:
            raise ChildDied(self._verdict()) from None

    def next(self) -> Section | Attached | None:
        """Wait for the next piece of the document; None at its end.

        Raises:
            ChildDied: There is none, and no end either.
            DocumentFailed: The extractor said so.
        """
        try:
            frame = self._channel.receive()
            if frame is None:
                raise ChildDied(self._verdict())
            if frame.head.get("is") not in {END, FAILED}:
                return piece_of(frame)
            self._rest(frame)
            if frame.head["is"] == FAILED:
                raise failure_of(frame.head)
        except TimeoutError:
            raise ChildDied(out_of_patience(self._limits)) from None
        except Malformed:
            raise ChildDied(crashed("it sent what is no message")) from None
        return None

    def kill(self) -> None:
        """End it at once; from any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it and leave nothing behind."""
        self._has_met = False
        self.kill()
        self._process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        self._channel.close()
        os.close(self._noise)
        os.close(self._lifeline)

    def _meet(self) -> None:
        try:
            ready = self._channel.receive()
        except (TimeoutError, Malformed):
            ready = None
        if ready is None:
            said = self._said().decode(errors="replace").splitlines()[-1:]
            self.close()
            message = f"the sandbox does not start: {''.join(said) or 'it says nothing'}"
            raise Unavailable(message, fix="ask `vectorflow doctor`")
        walls = ready.head.get("walls")
        self.walls = frozenset(map(Wall, walls if isinstance(walls, list) else []))
        self._has_met = True

    def _rest(self, frame: Frame) -> None:
        resident = frame.head.get("resident")
        self.resident = resident if isinstance(resident, int) else self._limits.memory
        self.documents += 1
        self.waiting -= 1
        self._said()

    def _verdict(self) -> DocumentFailed:
        """Say why it hung up."""
        try:
            status = self._process.wait(_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            return crashed("it hung up")
        if status == -signal.SIGXCPU:
            return out_of_cpu(self._limits)
        if status == -signal.SIGKILL or _SAYS_NO_MEMORY.search(self._said()):
            return out_of_memory(self._limits)  # nobody but the system kills it so
        return crashed(_signal_name(-status) if status < 0 else f"exit status {status}")

    def _said(self) -> bytes:
        """Read what it wrote to its standard error; nobody is shown it, it may quote documents."""
        with suppress(BlockingIOError):
            return os.read(self._noise, _NOISE)
        return b""


def _request(document: Document) -> bytes:
    has_file = document.file is not None
    return packed({"extractor": document.extractor, "file": has_file}, document.data)


def crashed(how: str) -> ExtractorCrashed:
    """Say that the library died."""
    return ExtractorCrashed(f"what reads this type died on it ({how})")


def _started(orders: Orders, noise: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "vectorflow.sandbox.child", orders.text],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=noise,
        pass_fds=(orders.channel, orders.lifeline),
        cwd="/",
        env=_environment(orders.places),
        start_new_session=True,  # what the terminal interrupts is the worker
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _environment(places: Places) -> Mapping[str, str]:
    """Give a child what it needs to start, and nothing that this process knows."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(places.search),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
        "MALLOC_ARENA_MAX": "2",  # each may reserve 64 MiB of the address space
        "OMP_NUM_THREADS": "1",
        "RAYON_NUM_THREADS": "1",
        "TOKIO_WORKER_THREADS": "1",
    }
