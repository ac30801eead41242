"""Uploads into the ledger: those that come at once share commits, and looks at how far they are."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from vectorflow.api.backend import Backend
from vectorflow.api.orders import Order
from vectorflow.api.uploads import Upload, no_room
from vectorflow.domain.documents import BlobRange
from vectorflow.domain.grouping import Grouped
from vectorflow.domain.jobs import Lane
from vectorflow.errors import Transient
from vectorflow.ledger import reads, uploads
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.ledger.uploads import Taken

TAKEN_AT_ONCE = 64
LOOK_SECONDS = 0.05

ROOM_SECONDS = 0.25
"""Between two looks at the room on the disk."""

Identity = tuple[str, str]
"""Idempotency key, and what tells requests apart."""


class Intake:
    """Takes the uploads of all requests of this process."""

    def __init__(self, backend: Backend) -> None:
        self._database = backend.database
        self._blobs = backend.blobs
        self._floor = backend.limits.free_floor_bytes
        self._free: int | None = None
        self._looked_at = -ROOM_SECONDS
        self._take = Grouped(self._take_together, weight=lambda _: 1, limit=TAKEN_AT_ONCE)
        self._waiting: defaultdict[int, set[asyncio.Future[int]]] = defaultdict(set)
        self._watcher: asyncio.Task[None] | None = None

    async def check_room(self, coming: int) -> None:
        """Refuse at the door what would leave too little room for work that is under way.

        Raises:
            OutOfSpace: These bytes would.
        """
        if time.monotonic() - self._looked_at >= ROOM_SECONDS:
            self._free = await asyncio.to_thread(self._blobs.free_bytes)
            self._looked_at = time.monotonic()
        if self._free is not None and self._free - coming < self._floor:
            raise no_room()

    async def take(
        self,
        order: Order,
        upload: Upload,
        extractor: str,
        identity: Identity | None,
        *,
        lane: Lane = Lane.BULK,
    ) -> Taken:
        """Make a job of a file that is kept; it is durable when this returns.

        Raises:
            Conflict: The idempotency key came with another request before.
        """
        key, request_hash = identity or (None, None)
        new = NewJob(
            tenant=order.tenant,
            index=order.index,
            pipeline=order.pipeline,
            scope="",
            document_id=order.document_id or None,
            sealed=order.sealed,
            idempotency_key=key,
            request_hash=request_hash,
            lane=lane,
        )
        return await self._take((new, _accepted(order, upload, extractor)))

    async def batches(self, taken: Taken, *, seconds: float) -> int:
        """Count the batches of an upload, waiting a little for its text to be cut; 1 at least."""
        if taken.batches is not None:
            return max(1, taken.batches)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[taken.job].add(done)
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch())
        try:
            return max(1, await asyncio.wait_for(done, seconds))
        except TimeoutError:
            return await self._parts_so_far(taken.job)
        finally:
            self._waiting[taken.job].discard(done)
            if not self._waiting[taken.job]:
                del self._waiting[taken.job]

    async def _take_together(self, together: Sequence[tuple[NewJob, Accepted]]) -> list[Taken]:
        return await self._database.write(partial(uploads.take_uploads, uploads=together))

    async def _watch(self) -> None:
        """Look at all uploads that wait, in one read, until none does."""
        while self._waiting:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(Transient):
                find = partial(reads.uploads, jobs=list(self._waiting))
                for job, view in (await self._database.read(find)).items():
                    if not view.extracting:
                        self._tell(job, view.parts)

    def _tell(self, job: int, parts: int) -> None:
        for done in self._waiting.get(job, ()):
            if not done.done():
                done.set_result(parts)

    async def _parts_so_far(self, job: int) -> int:
        try:
            views = await self._database.read(partial(reads.uploads, jobs=[job]))
        except Transient:
            return 1
        return max(1, views[job].parts)


def _accepted(order: Order, upload: Upload, extractor: str) -> Accepted:
    return Accepted(
        external_id=order.external_id or f"{upload.name}-{upload.digest}",
        uri=upload.name,
        raw_hash=upload.digest,
        recipe_hash=order.pipeline.recipe.digest(extractor, order.metadata),
        extractor=extractor,
        source=BlobRange(blob=upload.blob, start=0, length=upload.size),
        metadata=order.metadata,
    )
