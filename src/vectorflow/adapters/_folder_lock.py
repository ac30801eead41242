"""A lock on a folder that holds between processes and within one; it ends with its process."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

_POLL = 0.005
"""Seconds between two tries to get the lock."""


def try_lock(folder: Path) -> int | None:
    """Lock the folder, or give None where somebody else holds its lock.

    Closing the file descriptor unlocks. It also tells whether the folder was removed meanwhile:
    then its link count is 0.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return lock


class LockedWork:
    """Work under locks that is done to its end, even where the caller stops waiting for it.

    Work that went on unseen after its lock was free would meet the next holder of the lock.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, folder: Path, work: Callable[[int], Coroutine[object, object, _T]]) -> _T:
        """Wait for the folder's lock and work; cancelled before it has the lock it does nothing."""
        while (lock := try_lock(folder)) is None:  # noqa: ASYNC110 - another process tells us nothing
            await asyncio.sleep(_POLL)
        task = asyncio.ensure_future(unlocked_after(lock, work(lock)))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def ended(self) -> None:
        """Wait for what nobody waits for any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # now it counts as seen: the caller may have gone away


async def unlocked_after(lock: int, work: Coroutine[object, object, _T]) -> _T:
    """Work, then unlock."""
    try:
        return await work
    finally:
        os.close(lock)
