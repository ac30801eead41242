"""Progress on stderr, and what other processes hold in memory."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_SECONDS = 0.05


def progress(text: str) -> None:
    """Tell people what is being done."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def resident_megabytes(pid: int) -> float:
    """Give what a process has resident now."""
    return _status(pid, "VmRSS")


def peak_megabytes_of(pid: int) -> float:
    """Give the most that a process has had resident."""
    return _status(pid, "VmHWM")


def cpu_seconds_of(pid: int) -> float:
    """Give the user and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Give the processes that a process has started and that live."""
    found = [path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for listed in found for child in listed.split()]


class Sampled:
    """What a process had resident while it was watched."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.most = 0.0
        self.last = 0.0

    def look(self) -> None:
        """Look once; a process that has ended keeps what it had."""
        with suppress(OSError, LookupError):
            self.last = resident_megabytes(self.pid)
            self.most = max(self.most, self.last)


@contextmanager
def sampling(pid: int) -> Iterator[Sampled]:
    """Watch a process twenty times a second, in a thread."""
    seen, stop = Sampled(pid), threading.Event()

    def watch() -> None:
        while not stop.wait(LOOK_SECONDS):
            seen.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
        seen.look()


def _status(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    for line in lines:
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    message = f"process {pid} has ended"
    raise LookupError(message)
