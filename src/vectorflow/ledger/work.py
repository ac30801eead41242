"""The port `work` on the ledger itself: for workers that reach the database."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf

from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials
from vectorflow.domain.fairness import kept_for_bulk
from vectorflow.domain.grouping import Grouped
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.domain.outages import USUAL, Patience
from vectorflow.domain.pipelines import Pipeline
from vectorflow.domain.retries import Decision, Retry, after_failure
from vectorflow.errors import IndexLost, Unsealable, VectorFlowError
from vectorflow.ledger import claims, finishing, releases
from vectorflow.ledger.claims import Claimed, Wanted
from vectorflow.ledger.database import Database
from vectorflow.ledger.indexes import reset_index
from vectorflow.ledger.secrets import Sealed
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.work import Finished, Lease, LeasedIndex, NewPart, Work

GROUPED = 64
"""Vector files of small batches that are noted in one transaction."""

LOOK_SECONDS = 1.0
"""Between two looks whether the blobs are there."""

RELEASED = Retry(delay=0.0, refund=True)

OpenCredentials = Callable[[Sealed, Pipeline], Credentials]
"""Raises Unsealable."""


def nothing_sealed(_sealed: Sealed, _pipeline: Pipeline) -> Credentials:
    """Open nothing: for ledgers without credentials."""
    return NO_CREDENTIALS


class LedgerWork(Work):
    """Leases batches for one worker process."""

    def __init__(  # noqa: PLR0913 - a worker's place in the ledger has so many sides
        self,
        database: Database,
        blobs: BlobStore,
        *,
        owner: str,
        lease_seconds: float,
        store_seconds: float,
        open_credentials: OpenCredentials = nothing_sealed,
        patience: Patience = USUAL,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._zombie_seconds = lease_seconds + store_seconds
        self._open_credentials = open_credentials
        self._patience = patience
        self._add_vectors: Grouped[tuple[Lease, str], bool] = Grouped(
            self._add_vectors_together, weight=lambda _: 1, limit=GROUPED
        )
        self._looked_at = -inf
        self._chance = random.Random()  # noqa: S311 - jitter, not a secret

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        await self._demand_blobs()
        bulk = kept_for_bulk(limit, self._chance.random())
        claim = partial(
            claims.claim,
            owner=self._owner,
            wanted=Wanted(kinds, capabilities, limit, lanes, bulk),
            lease_seconds=self._lease_seconds,
        )
        taken = await self._database.write(claim)
        try:
            return [self._opened(claimed) for claimed in taken]
        except VectorFlowError:  # a fault of this process: others may be able to open them
            for claimed in taken:
                await self.release(claimed.lease, None)
            raise

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        renew = partial(claims.renew, leases=leases, lease_seconds=self._lease_seconds)
        return await self._database.write(renew, urgent=True)

    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        if parts:
            commit = partial(
                finishing.commit_parts,
                lease=lease,
                new_parts=parts,
                zombie_seconds=self._zombie_seconds,
            )
            await self._database.write(commit)
        if vectors is not None and not await self._add_vectors((lease, vectors)):
            raise finishing.lease_lost(lease)

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        return await self._database.write(
            partial(finishing.finish, results=results, zombie_seconds=self._zombie_seconds)
        )

    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        if isinstance(error, IndexLost):
            await self._reset(lease.index)
            return
        decision = RELEASED if error is None else self._decide(lease, error)
        release = partial(
            releases.release,
            lease=lease,
            error=error,
            decision=decision,
            zombie_seconds=self._zombie_seconds,
            patience=self._patience,
        )
        await self._database.write(release)

    async def _demand_blobs(self) -> None:
        """Claim nothing while the blobs are away: each batch would use up a try."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            await asyncio.to_thread(self._blobs.free_bytes)
            self._looked_at = time.monotonic()

    async def _add_vectors_together(self, files: Sequence[tuple[Lease, str]]) -> Sequence[bool]:
        return await self._database.write(partial(finishing.add_vectors, files=files))

    def _opened(self, claimed: Claimed) -> Lease:
        lease = claimed.lease
        try:
            opened = self._open_credentials(claimed.sealed, lease.pipeline)
        except Unsealable:
            return replace(lease, job=replace(lease.job, unsealed=False))
        return replace(lease, job=replace(lease.job, credentials=opened)) if opened else lease

    async def _reset(self, index: LeasedIndex) -> None:
        reset = partial(reset_index, index=index.id, incarnation=index.incarnation)
        await self._database.write(reset)

    def blobs(self, lease: Lease) -> BlobStore:  # noqa: ARG002 - all jobs share one blob store here
        return self._blobs

    def _decide(self, lease: Lease, error: VectorFlowError) -> Decision:
        return after_failure(error, lease.attempt, self._chance, self._patience.longest_pause)
