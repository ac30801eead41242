"""The blobs of a lease, through the API. Parts of manifests that were read lately are kept."""

import asyncio
import contextlib
import io
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import IO, BinaryIO, cast

from vectorflow.adapters._work_client import Ask, WorkClient, persist
from vectorflow.errors import Permanent
from vectorflow.ports.blob_store import BlobInfo, BlobStore

CACHE_BYTES = 64 << 20
CACHED_BYTES = 16 << 20
"""Of one blob; larger ones are read again."""

SPOOL_BYTES = 8 << 20
"""Of a blob that is being read; what is longer lies in a temporary file."""

MOST_BYTES = 1 << 40
BLOB_SECONDS = 600.0
"""For one blob: its bytes only have to keep coming."""

PATIENT_SECONDS = 15.0
"""For which a call is made again while the API does not answer."""

_CACHED = "manifests/"
"""Read once for every document in them; all others are read once."""


class BlobCache:
    """Whole blobs, those that were asked for lately; immutable as blobs are."""

    def __init__(self, most: int = CACHE_BYTES) -> None:
        self._most = most
        self._size = 0
        self._blobs: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Give a blob, if it is here."""
        if key not in self._blobs:
            return None
        self._blobs.move_to_end(key)
        return self._blobs[key]

    def put(self, key: str, data: bytes) -> None:
        """Keep a blob, in the place of those that nobody asked for lately."""
        if not key.startswith(_CACHED) or len(data) > CACHED_BYTES:
            return
        self._size -= len(self._blobs.pop(key, b""))
        self._blobs[key] = data
        self._size += len(data)
        while self._size > self._most:
            self._size -= len(self._blobs.popitem(last=False)[1])


class HttpBlobStore(BlobStore):
    """Reads and writes under leases. It neither lists nor deletes: stages do neither."""

    def __init__(self, client: WorkClient, cache: BlobCache, leases: Mapping[int, int]) -> None:
        """Make it on the event loop that the client is used on."""
        self._client = client
        self._cache = cache
        self._leases = leases
        self._loop = asyncio.get_running_loop()

    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        """Write a blob; all of it is in memory, as a call that got no answer is made again."""
        if isinstance(parts, AsyncIterable):
            data = b"".join([part async for part in parts])
        else:
            data = await asyncio.to_thread(b"".join, parts)
        ask = Ask(
            method="PUT",
            path=f"blobs/{key}",
            body=data,
            content_type="application/octet-stream",
            leases=self._leases,
            seconds=BLOB_SECONDS,
        )
        await persist(lambda: self._client.read(ask), seconds=PATIENT_SECONDS)
        self._cache.put(key, data)
        return len(data)

    async def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        with await self._fetched(key, start, length) as file:
            return file.read()

    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open a stretch, which is fetched whole; from a thread, never from the event loop."""
        fetching = asyncio.run_coroutine_threadsafe(self._fetched(key, start, length), self._loop)
        return fetching.result()

    async def delete(self, keys: Sequence[str]) -> None:  # noqa: ARG002 - the port's
        raise _not_over_http()

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:  # noqa: ARG002 - the port's
        raise _not_over_http()

    def free_bytes(self) -> int | None:
        return None

    async def _fetched(self, key: str, start: int, length: int | None) -> BinaryIO:
        data = self._cache.get(key)
        if data is not None:
            return io.BytesIO(data[start:] if length is None else data[start : start + length])
        file = await persist(lambda: self._download(key, start, length), seconds=PATIENT_SECONDS)
        if start == 0 and length is None and key.startswith(_CACHED):
            self._cache.put(key, file.read())
            file.seek(0)
        return file

    async def _download(self, key: str, start: int, length: int | None) -> BinaryIO:
        query = {"start": str(start)} | ({} if length is None else {"length": str(length)})
        ask = Ask(
            method="GET",
            path=f"blobs/{key}",
            leases=self._leases,
            query=query,
            seconds=BLOB_SECONDS,
        )
        file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            most = MOST_BYTES if length is None else length
            async with contextlib.aclosing(self._client.blocks(ask, most)) as arriving:
                async for block in arriving:
                    file.write(block)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return _as_binary(file)


def _as_binary(file: IO[bytes]) -> BinaryIO:
    return cast("BinaryIO", file)


def _not_over_http() -> Permanent:
    return Permanent("workers over HTTP neither list nor delete blobs")
