"""Vectors in files of a folder that the processes of a machine share."""

import asyncio
import hashlib
import logging
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vectorflow.adapters._cache_catalog import SEGMENTS, Catalog, Owner, Place
from vectorflow.adapters._vector_rows import RowForm, read_rows, row_form, words_of, write_rows
from vectorflow.domain.documents import canonical_json
from vectorflow.domain.records import Matrix
from vectorflow.errors import Unavailable
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.ports.vector_cache import CacheScope, CacheView, Found, VectorCache

log = logging.getLogger(__name__)

T = TypeVar("T")


class FileVectorCache(VectorCache):
    """Rows in segments of a bounded size, the least used of which makes room for new ones."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        max_age: float,
        free_floor: int = 0,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Take the bounds; the folder is made when it is first needed.

        Args:
            folder: Of this cache alone.
            max_bytes: Of everything in it.
            max_age: Seconds that a vector is kept at most.
            free_floor: Bytes of the disk that are left to others.
            metrics: Told what is found.
        """
        self._folder = folder
        self._metrics = metrics
        self._max_bytes, self._max_age, self._free_floor = max_bytes, max_age, free_floor
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vector-cache")
        self._catalog: Catalog | None = None
        self._fails = False

    async def find(self, scope: CacheScope, keys: Sequence[bytes]) -> Found:
        """Look thousands of input hashes up at once."""
        found = await self._try(partial(self._find, scope, keys))
        return found or Found.nothing(scope.fingerprint.dimensions)

    async def keep(self, scope: CacheScope, keys: Sequence[bytes], vectors: Matrix) -> None:
        """Keep vectors by input hash, until there is no room for them or they are too old."""
        await self._try(partial(self._keep, scope, keys, vectors))

    async def sweep(self) -> None:
        """Delete what is too old, or too much for a bound that was lowered."""
        if self._is_there():
            await self._try(lambda: self._opened().sweep())

    async def view(self) -> CacheView:
        """Read what there is.

        Raises:
            Unavailable: It cannot be read.
        """
        if not self._is_there():
            return CacheView(vectors=0, bytes=0, segments=0, hits=0, misses=0)
        return await self._insist(lambda: self._opened().view())

    async def clear(self) -> None:
        """Delete everything.

        Raises:
            Unavailable: It cannot be written.
        """
        if self._is_there():
            await self._insist(lambda: self._opened().clear())

    async def clear_tenant(self, tenant: str) -> int:
        """Delete all vectors of a tenant; gives how many.

        Raises:
            Unavailable: It cannot be written.
        """
        if not self._is_there():
            return 0
        return await self._insist(lambda: self._opened().clear_tenant(tenant))

    async def close(self) -> None:
        """Let go of the files."""
        await self._try(self._close)
        self._thread.shutdown()

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _insist(self, call: Callable[[], T]) -> T:
        try:
            return await self._run(call)
        except (OSError, sqlite3.Error) as error:
            message = f"the cache in {self._folder} cannot be used: {error}"
            fix = "try again, or delete the folder while no worker runs"
            raise Unavailable(message, fix=fix) from error

    async def _try(self, call: Callable[[], T]) -> T | None:
        """Do without what fails; a catalog that cannot be read is begun anew."""
        try:
            done = await self._run(call)
        except (OSError, sqlite3.Error) as error:
            if not self._fails:
                log.warning("vector_cache_failed", extra={"error": type(error).__name__})
            self._fails = True
            if type(error) is sqlite3.DatabaseError:  # no subclass: the file itself is broken
                await self._run(self._begin_anew)
            return None
        self._fails = False
        return done

    def _is_there(self) -> bool:
        return (self._folder / "catalog.db").exists()

    def _opened(self) -> Catalog:
        if self._catalog is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._catalog = Catalog(self._folder, max_bytes=self._max_bytes, max_age=self._max_age)
        return self._catalog

    def _close(self) -> None:
        catalog, self._catalog = self._catalog, None
        if catalog:
            catalog.close()

    def _begin_anew(self) -> None:
        """Processes that have the old files open go on with those, until they are closed."""
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _find(self, scope: CacheScope, keys: Sequence[bytes]) -> Found:
        number, form = _of(scope)
        words = words_of(keys)
        heads, inverse = np.unique(_heads_of(words), return_inverse=True)
        catalog = self._opened()
        entries = catalog.find(number, heads)
        rows = self._read(catalog.names(number), entries, form)
        places = np.full(len(heads), -1, dtype=np.intp)
        good = np.flatnonzero(form.valid(rows))
        places[np.searchsorted(heads, entries[good, 0])] = good
        row_of = places[inverse]
        positions = np.flatnonzero(row_of >= 0)
        same = (rows["key"][row_of[positions]] == words[positions]).all(axis=1)
        positions = positions[same]
        used = np.unique(entries[:, 1]).tolist()
        hits, misses = len(positions), len(keys) - len(positions)
        catalog.note(used, hits=hits, misses=misses)
        self._metrics.count("vectorflow_vector_cache_hits_total", hits)
        self._metrics.count("vectorflow_vector_cache_misses_total", misses)
        return Found(positions, rows["vector"][row_of[positions]])

    def _read(
        self, names: dict[int, str], entries: NDArray[np.int64], form: RowForm
    ) -> NDArray[np.void]:
        rows = form.blank(len(entries))
        for segment, name in names.items():
            start, end = np.searchsorted(entries[:, 1], [segment, segment + 1]).tolist()
            if start < end:
                read_rows(self._folder / name, entries[start:end, 2], rows[start:end])
        return rows

    def _keep(self, scope: CacheScope, keys: Sequence[bytes], vectors: Matrix) -> None:
        number, form = _of(scope)
        owner = Owner(number, scope.tenant)
        catalog = self._opened()
        words = words_of(keys)
        step = max(self._max_bytes // SEGMENTS // form.size, 1)
        for start in range(0, len(words), step):
            if shutil.disk_usage(self._folder).free < self._free_floor:
                return
            some = words[start : start + step]
            rows = form.pack(some, vectors[start : start + step])

            def write(place: Place, rows: NDArray[np.void] = rows) -> None:
                write_rows(self._folder / place.name, rows, place.first)

            catalog.add(owner, _heads_of(some), form.size, write)


def _of(scope: CacheScope) -> tuple[int, RowForm]:
    """Give the number of a scope and the form of its rows."""
    named = canonical_json([scope.ledger, scope.tenant, scope.fingerprint.digest])
    digest = hashlib.blake2b(named.encode(), digest_size=16).digest()
    number = int.from_bytes(digest[:8], "little", signed=True)
    return number, row_form(digest, scope.fingerprint.dimensions)


def _heads_of(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.ascontiguousarray(words[:, 0]).view(np.int64)
