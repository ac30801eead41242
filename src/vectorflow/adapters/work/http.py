"""The port `work` over HTTP: for workers that reach nothing but the API."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from vectorflow.adapters._work_client import Ask, WorkClient, persist
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.errors import Unavailable, VectorFlowError
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.work import Finished, Lease, NewPart, Work
from vectorflow.ports.work_wire import (
    MAX_LEASES,
    Accepted,
    Checkpoint,
    Claim,
    Claimed,
    Finish,
    Release,
    Renew,
    Renewed,
    bare,
    ended,
    problem_of,
)

T = TypeVar("T")

CALL_SECONDS = 60.0
"""One call takes at most; a renewal less, since its lease runs."""

RELEASE_SECONDS = 5.0
"""A batch that cannot be handed back for so long is left to run out: a worker must get to end."""

PATIENT_SHARE = 0.5
"""Share of a lease for which a call is made again while the API does not answer."""

_REMEMBERED = 1024

BlobsOf = Callable[[Mapping[int, int]], BlobStore]
"""Leases, epoch by batch -> their blobs."""

_claim, _claimed = TypeAdapter(Claim), TypeAdapter(Claimed)
_renew, _renewed = TypeAdapter(Renew), TypeAdapter(Renewed)
_finish, _accepted = TypeAdapter(Finish), TypeAdapter(Accepted)
_checkpoint, _release = TypeAdapter(Checkpoint), TypeAdapter(Release)


class HttpWork(Work):
    """Leases batches for one worker process, through the API.

    `renew` may be called on any event loop; all else on the one on which the client was opened.
    """

    def __init__(self, client: WorkClient, blobs_of: BlobsOf) -> None:
        self._client = client
        self._blobs_of = blobs_of
        self._held: dict[int, Lease] = {}
        self.stores: dict[str, str | None] = {}
        """Locator -> URL, as the API last lent it; None where it stores for us."""
        self.providers: dict[str, str] = {}
        """Plugin of an embedder -> base URL of its provider."""

    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        asked = Claim(
            kinds=tuple(kinds), capabilities=capabilities, limit=limit, lanes=tuple(lanes)
        )
        body = _claim.dump_json(asked)
        ask = Ask(method="POST", path="claim", body=body, seconds=CALL_SECONDS, knocks=True)
        claimed = _read(_claimed, await self._client.read(ask))
        self._held |= {lease.batch: lease for lease in claimed.leases}
        if len(self.stores) > _REMEMBERED:
            self.stores.clear()
        self.stores |= claimed.stores
        self.providers |= claimed.providers
        return claimed.leases

    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        body = _renew.dump_json(Renew(leases=tuple(map(bare, leases))))
        seconds = min((lease.seconds for lease in leases), default=CALL_SECONDS) / 3
        async with self._client.apart() as client:
            ask = Ask(method="POST", path="renew", body=body, seconds=min(seconds, CALL_SECONDS))
            kept = set(_read(_renewed, await client.read(ask)).batches)
        return [lease for lease in leases if lease.batch in kept]

    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        asked = Checkpoint(lease=bare(lease), parts=tuple(parts), vectors=vectors)
        await self._persist("checkpoint", _checkpoint.dump_json(asked), patience(lease))

    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        """End batches. Of two tries, the first of which got no answer, the second says stale."""
        if not results:
            return []
        body = _finish.dump_json(Finish(results=tuple(map(ended, results))))
        seconds = min(patience(result.lease) for result in results)
        answer = await self._persist("finish", body, seconds)
        self._drop([result.lease for result in results])
        accepted = _read(_accepted, answer).accepted
        if len(accepted) != len(results):
            raise _garbled()
        return accepted

    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        self._drop([lease])
        problem = None if error is None else problem_of(error)
        asked = Release(lease=bare(lease, versions=True), error=problem)
        seconds = min(patience(lease), RELEASE_SECONDS)
        await self._persist("release", _release.dump_json(asked), seconds)

    def blobs(self, lease: Lease) -> BlobStore:
        return self._blobs_of({lease.batch: lease.epoch})

    def leases_of(self, store: str, account: str | None, index: str) -> dict[int, int]:
        """Name an account's leases that we hold in an index, the newest of many: epoch by batch."""
        names = {
            lease.batch: lease.epoch
            for lease in self._held.values()
            if (lease.pipeline.store, lease.pipeline.index) == (store, index)
            and lease.job.credentials.store_key == account
        }
        return dict(list(names.items())[-MAX_LEASES:])

    def _drop(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            held = self._held.get(lease.batch)
            if held is not None and held.epoch == lease.epoch:
                del self._held[lease.batch]

    async def _persist(self, path: str, body: bytes, seconds: float) -> bytes:
        ask = Ask(method="POST", path=path, body=body, seconds=CALL_SECONDS)
        return await persist(lambda: self._client.read(ask), seconds=seconds)


def patience(lease: Lease) -> float:
    """Seconds for which a call under a lease is made again while the API does not answer."""
    return PATIENT_SHARE * lease.seconds


def _read(adapter: TypeAdapter[T], answer: bytes) -> T:
    try:
        return adapter.validate_json(answer)
    except ValidationError:
        raise _garbled() from None  # the cause quotes the answer, which may hold credentials


def _garbled() -> Unavailable:
    fix = "run the same release on both sides"
    return Unavailable("the API answered in a form that is not known here", fix=fix)
