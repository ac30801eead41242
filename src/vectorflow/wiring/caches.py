"""Settings -> the vectors kept on this machine."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.settings import Settings
from vectorflow.wiring.hosts import host_name

DAY = 86_400.0
"""Seconds."""

SWEEP_SECONDS = 600.0
"""Between two looks for what is too old."""


ABANDONED_SECONDS = 3 * DAY
"""After which a machine without a worker is taken to be gone; longer than a weekend."""


def cache_folder(settings: Settings) -> Path:
    """Where it lies: with a ledger on a server, other machines may mount the same data directory.

    Then each has a folder of its own, as SQLite cannot share a file over a network.
    """
    folder = settings.data_dir / "cache"
    shared = not settings.database_url.startswith("sqlite:")
    return folder / (host_name() or "host") if shared else folder


def make_cache(settings: Settings, metrics: Metrics = NO_METRICS) -> FileVectorCache:
    """Make the cache of this machine; its folder is made when the first vector comes."""
    return FileVectorCache(
        cache_folder(settings),
        max_bytes=settings.cache.max_bytes,
        max_age=settings.cache.days * DAY,
        free_floor=settings.blobs.free_floor_bytes,
        metrics=metrics,
    )


@asynccontextmanager
async def tended(cache: FileVectorCache, settings: Settings) -> AsyncGenerator[None]:
    """Delete what is too old meanwhile, whether or not anything is looked up."""
    tending = asyncio.create_task(_sweep(cache, settings))
    try:
        yield
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


async def _sweep(cache: FileVectorCache, settings: Settings) -> None:
    while True:
        await cache.sweep()
        await asyncio.to_thread(clear_abandoned, settings)
        await asyncio.sleep(SWEEP_SECONDS)


def clear_abandoned(settings: Settings) -> None:
    """Delete the caches of machines that are gone: a container has a new name each time it is made.

    The folder of a machine that is at work is touched at every sweep. All times are those of the
    disk: another machine's clock may be wrong.
    """
    own, parent = cache_folder(settings), settings.data_dir / "cache"
    if own == parent:
        return
    try:
        os.utime(own)
        now = own.stat().st_mtime
    except OSError:  # none was kept yet
        return
    longest = min(ABANDONED_SECONDS, settings.cache.days * DAY)
    for path in parent.glob("*"):
        with suppress(OSError):  # another machine deletes it too
            if path != own and now - path.stat().st_mtime > longest:
                _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
