"""One embedding process per data directory: it holds the model and uses all cores."""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

LOOK_SECONDS = 0.25


@asynccontextmanager
async def seat(path: Path, stop: asyncio.Event) -> AsyncGenerator[bool]:
    """Wait for the seat and hold it; False if `stop` came first.

    The system takes the lock back when its holder dies, however it dies, so whoever gets it knows
    that the former holder will never write again.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        taken = _take(file)
        while not taken and not stop.is_set():
            await asyncio.sleep(LOOK_SECONDS)
            taken = _take(file)
        if taken:
            os.pwrite(file, b"%-20d" % os.getpid(), 0)
        yield taken
    finally:
        os.close(file)


def seat_taken(path: Path) -> str | None:
    """Say who holds the seat, by its process id; None while it is free."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # not there; what else is wrong is told by who opens the data directory
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(file)
    return None


def _take(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
