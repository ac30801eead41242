"""The port `work`, for workers that reach nothing but the API."""

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from vectorflow.api.desk import Desk
from vectorflow.api.routes.work_blobs import blob_routes, check_attached, check_key
from vectorflow.api.routes.work_store import store_routes
from vectorflow.api.schemas import read_json
from vectorflow.api.workers import body_of, is_private, owner_of
from vectorflow.errors import LeaseLost
from vectorflow.ledger import held
from vectorflow.ports.work import Lease, NewPart
from vectorflow.ports.work_wire import (
    CLAIM_LIMIT,
    Accepted,
    Checkpoint,
    Claim,
    Claimed,
    Finish,
    Release,
    Renew,
    Renewed,
    error_of,
    finished,
)

T = TypeVar("T")

_claimed, _renewed, _accepted = TypeAdapter(Claimed), TypeAdapter(Renewed), TypeAdapter(Accepted)


def work_routes(desk: Desk) -> APIRouter:
    """Make the routes of workers."""
    router = APIRouter(prefix="/v1/work")
    router.include_router(blob_routes(desk))
    router.include_router(store_routes(desk))
    router.include_router(_lease_routes(desk))

    @router.post("/checkpoint")
    async def checkpoint(request: Request) -> Response:
        """Make progress durable; the same twice is one."""
        owner = owner_of(request, desk)
        asked = await _body(Checkpoint, request, desk)
        await _checkpoint(desk, owner, asked)
        return Response(status_code=204)

    @router.post("/finish")
    async def finish(request: Request) -> Response:
        """End batches; a result under a lease of somebody else is stale, and changes nothing."""
        owner = owner_of(request, desk)
        asked = await _body(Finish, request, desk)
        return _json(_accepted, Accepted(accepted=await _finish(desk, owner, asked)))

    return router


def _lease_routes(desk: Desk) -> APIRouter:
    """Make the routes by which leases come and go."""
    router = APIRouter()

    @router.post("/claim")
    async def claim(request: Request) -> Response:
        """Hand out leases, with what their batches need."""
        owner = owner_of(request, desk)
        asked = await _body(Claim, request, desk)
        leases = await _claim(desk, owner, asked)
        return _json(_claimed, await desk.claimed(owner, leases, private=is_private(request)))

    @router.post("/renew")
    async def renew(request: Request) -> Response:
        """Push leases out."""
        owner = owner_of(request, desk)
        asked = await _body(Renew, request, desk)
        kept = await desk.work(owner).renew(await desk.owned(owner, asked.leases))
        return _json(_renewed, Renewed(batches=tuple(lease.batch for lease in kept)))

    @router.post("/release")
    async def release(request: Request) -> Response:
        """Take a batch back."""
        owner = owner_of(request, desk)
        asked = await _body(Release, request, desk)
        error = None if asked.error is None else error_of(asked.error)
        for lease in await desk.owned(owner, [asked.lease]):
            await desk.work(owner).release(lease, error)
        return Response(status_code=204)

    return router


async def _claim(desk: Desk, owner: str, asked: Claim) -> Sequence[Lease]:
    """Claim; a worker that only looks whether there is work keeps no writer waiting."""
    kinds, limit = tuple(dict.fromkeys(asked.kinds)), min(asked.limit, CLAIM_LIMIT)
    lanes = tuple(dict.fromkeys(asked.lanes))
    if limit < 1 or not lanes or not await desk.database.read(partial(held.is_work, kinds=kinds)):
        return []
    return await desk.work(owner).claim(kinds, asked.capabilities, limit, lanes)


async def _checkpoint(desk: Desk, owner: str, asked: Checkpoint) -> None:
    parts = list(asked.parts)
    _check_parts(parts)
    if asked.vectors is not None:
        check_key(asked.vectors, "vectors")
    if not await desk.owned(owner, [asked.lease]):
        raise LeaseLost(f"batch {asked.lease.batch} belongs to another worker")
    if parts:
        parts = await desk.database.read(partial(held.uncommitted, new_parts=parts))
    await desk.work(owner).checkpoint(asked.lease, parts=parts, vectors=asked.vectors)


async def _finish(desk: Desk, owner: str, asked: Finish) -> tuple[bool, ...]:
    for result in asked.results:
        _check_parts(result.parts)
    own = await desk.owned(owner, [result.lease for result in asked.results])
    names = {(lease.batch, lease.epoch) for lease in own}
    known = [(result.lease.batch, result.lease.epoch) in names for result in asked.results]
    results = [finished(one) for one, ours in zip(asked.results, known, strict=True) if ours]
    answers = iter(await desk.work(owner).finish(results) if results else ())
    return tuple(ours and next(answers) for ours in known)


def _check_parts(parts: Sequence[NewPart]) -> None:
    for new in parts:
        check_key(new.part.blob, "manifests")
        check_attached(new.attached)


async def _body(type_: type[T], request: Request, desk: Desk) -> T:
    return read_json(type_, "the body", await body_of(request, desk, desk.limits.json_bytes))


def _json(adapter: TypeAdapter[T], value: T) -> Response:
    return Response(adapter.dump_json(value), media_type="application/json")
