"""Vector files of jobs, searched by input hash: each is opened when something of it is wanted."""

import asyncio
import io
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vectorflow.domain.columns import hashes
from vectorflow.domain.records import Matrix
from vectorflow.errors import NotFound
from vectorflow.ledger import exports
from vectorflow.ledger.database import Database
from vectorflow.ports.blob_store import BlobStore
from vectorflow.service.part_files import read_vectors

STALE_SECONDS = 2.0
"""After so long a job is asked again which files it has."""

_NO_HEADS = np.empty(0, dtype=np.uint64)


class VectorFiles:
    """Finds vectors in the files of jobs.

    Of each vector it holds half of the hash, to know the file; of the files one at a time.
    """

    def __init__(self, database: Database, blobs: BlobStore, dimensions: int) -> None:
        self._database, self._blobs, self._dimensions = database, blobs, dimensions
        self._asked: dict[int, float] = {}
        self._keys: list[str] = []
        """Of files; the place here is the number of a file in `_homes`."""
        self._heads: NDArray[np.uint64] = _NO_HEADS
        self._homes: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._open: tuple[int, dict[bytes, Matrix]] = (-1, {})

    async def learn(self, jobs: Iterable[int], *, at_once: bool = False) -> None:
        """Learn which files these jobs have; what was asked just now only if `at_once`."""
        now = time.monotonic()
        known = {} if at_once else self._asked
        asked = [job for job in jobs if now - known.get(job, -STALE_SECONDS) >= STALE_SECONDS]
        if not asked:
            return
        self._asked |= dict.fromkeys(asked, now)
        found = await self._database.read(partial(exports.vector_files, of_jobs=asked))
        new = dict.fromkeys(found)
        for key in self._keys:
            new.pop(key, None)
        heads = [await asyncio.to_thread(_heads_in, self._blobs, key) for key in new]
        self._sort_in(heads)
        self._keys += new

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Matrix]:
        """Give the vectors of these input hashes, as far as a file has them."""
        found: dict[bytes, Matrix] = {}
        homes = self._homes_of(keys)
        for home in np.unique(homes[homes >= 0]).tolist():
            vectors = await self._vectors(home)
            if vectors is None:
                self._forget(home)
                return await self.find(keys)
            wanted = [keys[place] for place in np.flatnonzero(homes == home).tolist()]
            found |= {key: vectors[key].copy() for key in wanted if key in vectors}
        return found

    def _homes_of(self, keys: Sequence[bytes]) -> NDArray[np.int32]:
        """Number the files that must have these; -1 where none has."""
        heads = _heads_of(b"".join(keys))
        if not len(self._heads):
            return np.full(len(heads), -1, np.int32)
        places = np.searchsorted(self._heads, heads).clip(max=len(self._heads) - 1)
        return np.where(self._heads[places] == heads, self._homes[places], np.int32(-1))

    def _sort_in(self, heads: list[NDArray[np.uint64]]) -> None:
        """Add what further files hold."""
        numbers = range(len(self._keys), len(self._keys) + len(heads))
        homes = [np.full(len(some), at, np.int32) for at, some in zip(numbers, heads, strict=True)]
        joined = np.concatenate([self._heads, *heads])
        order = np.argsort(joined, kind="stable")
        self._heads, self._homes = joined[order], np.concatenate([self._homes, *homes])[order]

    def _forget(self, home: int) -> None:
        """Another file may have what a file had that is gone."""
        kept = self._homes != home
        self._heads, self._homes = self._heads[kept], self._homes[kept]

    async def _vectors(self, home: int) -> dict[bytes, Matrix] | None:
        """Read a file; None where it is gone."""
        if self._open[0] != home:
            self._open = (-1, {})
            try:
                vectors = await read_vectors(self._blobs, [self._keys[home]], self._dimensions)
            except NotFound:
                return None
            self._open = (home, vectors)
        return self._open[1]


def _heads_in(blobs: BlobStore, key: str) -> NDArray[np.uint64]:
    """Read the hashes of a file and not its vectors; nothing where it is gone."""
    try:
        with blobs.open(key) as file:
            only_hashes = pa.ipc.IpcReadOptions(included_fields=[0])
            source = pa.PythonFile(cast("io.IOBase", file), mode="r")
            table = pa.ipc.open_file(source, options=only_hashes).read_all()
    except NotFound:
        return _NO_HEADS
    return _heads_of(b"".join(hashes(table, "input_hash")))


def _heads_of(joined: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(joined, dtype=np.uint64)[::2]
