"""Settings -> the vectors kept on this machine."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from vectorflow.adapters.vector_caches.files import FileVectorCache
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.settings import Settings

DAY = 86_400.0
"""Seconds."""

SWEEP_SECONDS = 600.0
"""Between two looks for what is too old."""


def make_cache(settings: Settings, metrics: Metrics = NO_METRICS) -> FileVectorCache:
    """Make the cache of the data directory; its folder is made when the first vector comes."""
    return FileVectorCache(
        settings.data_dir / "cache",
        max_bytes=settings.cache.max_bytes,
        max_age=settings.cache.days * DAY,
        free_floor=settings.blobs.free_floor_bytes,
        metrics=metrics,
    )


@asynccontextmanager
async def tended(cache: FileVectorCache) -> AsyncGenerator[None]:
    """Delete what is too old meanwhile, whether or not anything is looked up."""
    tending = asyncio.create_task(_sweep(cache))
    try:
        yield
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


async def _sweep(cache: FileVectorCache) -> None:
    while True:
        await cache.sweep()
        await asyncio.sleep(SWEEP_SECONDS)
