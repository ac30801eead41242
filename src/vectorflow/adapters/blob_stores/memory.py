"""Blobs in memory, for tests and for jobs that keep nothing."""

import asyncio
import io
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import BinaryIO

from vectorflow.errors import NotFound, OutOfSpace
from vectorflow.ports.blob_store import BlobInfo, BlobStore


class MemoryBlobStore(BlobStore):
    """Dies with the process. `capacity` is its size in bytes, without it there is no bound."""

    def __init__(self, capacity: int | None = None) -> None:
        self._capacity = capacity
        self._blobs: dict[str, tuple[bytes, float]] = {}

    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        if isinstance(parts, AsyncIterable):
            data = b"".join([part async for part in parts])
        else:
            data = await asyncio.to_thread(b"".join, parts)
        replaced, _ = self._blobs.get(key, (b"", 0.0))
        free = self.free_bytes()
        if free is not None and len(data) > free + len(replaced):
            raise OutOfSpace(f"no room for blob {key!r}: {len(data)} bytes, {free} free")
        self._blobs[key] = (data, time.monotonic())
        return len(data)

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return self._stretch(key, start, length)

    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        return io.BytesIO(self._stretch(key, start, length))

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._blobs.pop(key, None)

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        for key, (data, written) in tuple(self._blobs.items()):
            if key.startswith(prefix):
                yield BlobInfo(key=key, size=len(data), age=time.monotonic() - written)

    def free_bytes(self) -> int | None:
        if self._capacity is None:
            return None
        return self._capacity - sum(len(data) for data, _ in self._blobs.values())

    def _stretch(self, key: str, start: int, length: int | None) -> bytes:
        if key not in self._blobs:
            raise NotFound(f"no blob {key!r}")
        data, _ = self._blobs[key]
        return data[start:] if length is None else data[start : start + length]
