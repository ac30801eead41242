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
        yield taken
    finally:
        os.close(file)


def _take(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
