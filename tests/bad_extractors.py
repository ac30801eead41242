"""Extractors that do harm, or try to: a document names the deed, children do it."""

import ctypes
import io
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, ClassVar, NoReturn

from vectorflow.domain.documents import MAX_SECTION, Attached, Section, SectionKind
from vectorflow.errors import BrokenFile, EncryptedFile, LimitExceeded, Unavailable
from vectorflow.ports.extractor import Extractor

TARGET = Path("/tmp/written-by-a-child")  # noqa: S108 - it never gets there


class BadExtractor(Extractor):
    """Does what the first word of the document says to the others."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".bad",)

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        deed, _, words = source.read().decode().partition(" ")
        yield from DEEDS[deed](words)


class PlainExtractor(Extractor):
    """Gives the text of a document in one section, read in many small steps."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".plain",)

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        source.seek(0, io.SEEK_END)
        size = source.tell()
        source.seek(0)
        text = b"".join(iter(lambda: source.read(1000), b"")).decode()
        assert len(text.encode()) == size
        for start in range(0, len(text), MAX_SECTION):
            yield Section(text=text[start : start + MAX_SECTION], start=start)


class UnloadableExtractor(Extractor):
    """Wants a library that is not there."""

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".unloadable",)

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        from no_such_library import parse  # type: ignore[import-not-found]  # noqa: PLC0415

        yield Section(text=parse(source), start=0)


def _say(words: str) -> Iterator[Section]:
    yield Section(text=words, start=0)


def _say_all(words: str) -> Iterator[Section | Attached]:
    """Give one of everything."""
    yield Section(text=words, start=0, headings=("One", "Two"), page=7, properties={"title": "T"})
    yield Attached(name="ä.bin", data=bytes(range(256)))
    start = len(words)
    yield Section(text="a|b\n", start=start, kind=SectionKind.TABLE, header="a|b\n")
    yield Section(text="x = 1\n", start=start + 4, kind=SectionKind.CODE, language="python")


def _say_then(deed: Callable[[], object]) -> Callable[[str], Iterator[Section]]:
    def say(words: str) -> Iterator[Section]:
        yield Section(text=words, start=0)
        deed()
        yield Section(text=" and lived", start=len(words))

    return say


def _answer(question: Callable[[], object]) -> Callable[[str], Iterator[Section]]:
    """Say what came of a deed, or which error."""

    def answer(_words: str) -> Iterator[Section]:
        try:
            said = str(question())
        except OSError as error:
            said = type(error).__name__
        yield Section(text=said or "nothing", start=0)

    return answer


def _repeat(words: str) -> Iterator[Section]:
    count, _, word = words.partition(" ")
    start = 0
    for _ in range(int(count)):
        yield Section(text=word, start=start)
        start += len(word)


def _flood(_words: str) -> Iterator[Section]:
    start = 0
    while True:
        yield Section(text="water " * 10_000, start=start)
        start += 60_000


def _drip(words: str) -> Iterator[Section]:
    """Work slower than it may be silent, if nothing is sent before there is enough."""
    for number in range(6):
        time.sleep(float(words))
        yield Section(text=f"{number}", start=number)


def _spin() -> NoReturn:
    while True:
        pass


def _segfault() -> None:
    ctypes.string_at(0)


def _allocate() -> int:
    return len(bytearray(10 << 30))


def _allocate_natively() -> int:
    return len(mmap.mmap(-1, 10 << 30))


def _eat() -> NoReturn:
    eaten: list[bytes] = []
    while True:
        eaten.append(bytes(range(256)) * (1 << 14))


def _descriptors() -> list[int]:
    return sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())


def _corrupt_the_pipe() -> None:
    for descriptor in _descriptors():
        if descriptor > 2:
            with suppress(OSError):
                os.write(descriptor, b"\xff" * 64)


def _hang_up() -> None:
    os.closerange(3, 4096)
    time.sleep(600)


def _complain() -> None:
    for _ in range(1000):
        with suppress(BlockingIOError):  # the pipe is full
            os.write(2, b"SECRET on stderr" * 64)


def _burn(words: str) -> Iterator[Section]:
    until = time.process_time() + float(words)
    while time.process_time() < until:
        pass
    yield Section(text=words, start=0)


def _lie(words: str) -> Iterator[Section]:
    yield Section(text=words, start=0)
    yield Section(text="a gap lies before this", start=len(words) + 1)


def _raise(error: BaseException) -> Callable[[str], Iterator[Section]]:
    def fail(words: str) -> Iterator[Section]:
        if words:
            yield Section(text=words, start=0)
        raise error

    return fail


def _quote(words: str) -> Iterator[Section]:
    raise ValueError(f"cannot parse {words!r}")
    yield


def _nest(_words: str) -> Iterator[Section]:
    def deeper(depth: int) -> int:
        return deeper(depth + 1)

    yield Section(text=str(deeper(0)), start=0)


_dies_after: list[int] = []
_kept: list[bytes] = []


def _die_once_used(words: str) -> Iterator[Section]:
    """Die in a child that had a document before, and live in a fresh one."""
    count, word, *_ = words.split(" ")
    for number in range(int(count)):
        if number == 2 and _dies_after:
            os.abort()
        yield Section(text=word, start=number * len(word))


def _spoil(words: str) -> Iterator[Section]:
    _dies_after.append(1)
    yield Section(text=words, start=0)


def _keep(words: str) -> Iterator[Section]:
    """Leak so many megabytes."""
    _kept.append(b"x" * (int(words) << 20))
    yield Section(text=words, start=0)


def _thread() -> str:
    said: list[str] = []
    thread = threading.Thread(target=said.append, args=("from a thread",))
    thread.start()
    thread.join()
    return said[0]


def _write(text: str) -> int:
    with TARGET.open("w", encoding="utf-8") as file:
        return file.write(text)


def _connect_unix() -> None:
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"hello", "/dev/log")


DEEDS: Mapping[str, Callable[[str], Iterator[Section | Attached]]] = {
    "say": _say,
    "say_all": _say_all,
    "repeat": _repeat,
    "flood": _flood,
    "drip": _drip,
    "abort": _say_then(os.abort),
    "segfault": _say_then(_segfault),
    "exit": _say_then(lambda: os._exit(0)),
    "system_exit": _say_then(lambda: sys.exit(3)),
    "burn": _burn,
    "spin": _say_then(_spin),
    "sleep": _say_then(lambda: time.sleep(600)),
    "sleep_deaf": _say_then(lambda: ctypes.PyDLL(None).sleep(600)),
    "allocate": _say_then(_allocate),
    "allocate_natively": _answer(_allocate_natively),
    "keep": _keep,
    "eat": _say_then(_eat),
    "kill_itself": _say_then(lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "give_up": _say_then(lambda: (os.write(2, b"terminate called: std::bad_alloc"), os.abort())),
    "hang_up": _say_then(_hang_up),
    "corrupt": _say_then(_corrupt_the_pipe),
    "lie": _lie,
    "print": _say_then(lambda: os.write(1, b"SECRET on stdout")),
    "complain": _say_then(_complain),
    "quote": _quote,
    "nest": _nest,
    "panic": _raise(BaseException("SECRET")),
    "broken": _raise(BrokenFile("the table ends too early", fix="save it again")),
    "encrypted": _raise(EncryptedFile("it needs a password")),
    "limited": _raise(LimitExceeded("pages", "it has too many pages")),
    "other_error": _raise(Unavailable("the moon is away", fix="wait")),
    "die_once_used": _die_once_used,
    "spoil": _spoil,
    "fork": _answer(os.fork),
    "spawn": _answer(lambda: os.posix_spawn("/bin/true", ["true"], {})),
    "exec": _answer(lambda: os.execv("/bin/true", ["true"])),
    "thread": _answer(_thread),
    "socket": _answer(lambda: socket.socket(socket.AF_INET)),
    "socket6": _answer(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)),
    "unix": _answer(lambda: socket.socket(socket.AF_UNIX)),
    "datagram": _answer(_connect_unix),
    "pair": _answer(lambda: len(socket.socketpair())),
    "passwd": _answer(lambda: Path("/etc/passwd").read_text(encoding="utf-8")),
    "parent": _answer(lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes()),
    "project": _answer(lambda: Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")),
    "own_code": _answer(lambda: len(Path(__file__).read_text("utf-8")) > 0),
    "environment": _answer(lambda: "\n".join(f"{name}={os.environ[name]}" for name in os.environ)),
    "write": _answer(lambda: _write("x")),
    "remove": _answer(lambda: Path(__file__).unlink()),
    "rename": _answer(lambda: Path(__file__).rename(TARGET)),
    "mkdir": _answer(TARGET.mkdir),
    "chmod": _answer(lambda: Path(__file__).chmod(0o700)),
    "truncate": _answer(lambda: os.truncate(__file__, 0)),
    "memfd": _answer(lambda: os.memfd_create("x")),
    "kill_parent": _answer(lambda: os.kill(os.getppid(), signal.SIGTERM)),
    "slow_parent": _answer(lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)),
    "descriptors": _answer(_descriptors),
    "pid": _answer(os.getpid),
}
