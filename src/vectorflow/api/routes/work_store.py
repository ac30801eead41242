"""The store of a lease, where only the API reaches it: one on its disk, or of its network."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from vectorflow.api.desk import Desk
from vectorflow.api.schemas import read_json
from vectorflow.api.workers import body_of, held_of, owner_of
from vectorflow.domain.records import record_schema
from vectorflow.errors import InvalidInput, LeaseLost
from vectorflow.ledger.held import Held
from vectorflow.ports.vector_store import Marker, VectorStore
from vectorflow.ports.work_wire import ARROW
from vectorflow.service.indexes import write_records

T = TypeVar("T")

_marker = TypeAdapter(Marker | None)


def store_routes(desk: Desk) -> APIRouter:
    """Make the routes of records. Store and index are those of the lease, so none is named."""
    router = APIRouter(prefix="/store")
    router.include_router(_marker_routes(desk))

    @router.post("/upsert")
    async def upsert(request: Request) -> Response:
        """Store records."""
        owner_of(request, desk)
        body = await body_of(request, desk, desk.limits.records_bytes)
        held = await held_of(request, desk)
        await _upsert(await desk.store(held), held, body)
        return Response(status_code=204)

    @router.post("/delete")
    async def delete(request: Request) -> Response:
        """Delete records."""
        owner_of(request, desk)
        ids = await _ids(request, desk)
        held = await held_of(request, desk)
        store = await desk.store(held)
        await store.delete(held.pipeline.index, ids)
        return Response(status_code=204)

    @router.post("/fetch")
    async def fetch(request: Request) -> Response:
        """Read records."""
        owner_of(request, desk)
        ids = await _ids(request, desk)
        held = await held_of(request, desk)
        store = await desk.store(held)
        records = await store.fetch(held.pipeline.index, ids)
        return Response(await asyncio.to_thread(_stream, records), media_type=ARROW)

    return router


def _marker_routes(desk: Desk) -> APIRouter:
    router = APIRouter()

    @router.post("/marker")
    async def marker(request: Request) -> Response:
        """Tell whose the index is."""
        held = await held_of(request, desk)
        store = await desk.store(held)
        return _answer(await store.marker(held.pipeline.index))

    @router.post("/create")
    async def create(request: Request) -> Response:
        """Make and mark the index, as the ledger knows it and not otherwise."""
        owner_of(request, desk)
        body = await body_of(request, desk, desk.limits.records_bytes)
        asked, held = read_json(Marker, "the body", body), await held_of(request, desk)
        if asked != _wanted(held):
            raise LeaseLost(f"index {held.pipeline.index!r} was started anew")
        store = await desk.store(held)
        return _answer(await store.create(held.pipeline.index, asked))

    return router


async def _upsert(store: VectorStore, held: Held, body: bytes) -> None:
    dimensions = held.pipeline.recipe.fingerprint.dimensions
    records = await asyncio.to_thread(_records, body, dimensions)
    # Taken back here too, since the worker's lease ends as the index is started anew.
    await write_records(store, held.pipeline.index, held.index.incarnation, records)


async def _ids(request: Request, desk: Desk) -> list[str]:
    body = await body_of(request, desk, desk.limits.records_bytes)
    return read_json(list[str], "the body", body)


def _wanted(held: Held) -> Marker:
    fingerprint = held.pipeline.recipe.fingerprint
    return Marker(
        ledger=held.index.ledger,
        fingerprint=fingerprint.digest,
        incarnation=held.index.incarnation,
        dimensions=fingerprint.dimensions,
    )


def _records(body: bytes, dimensions: int) -> pa.Table:
    """Read records and look at every value: what comes is not what a store of ours made."""
    table = _read(lambda: pa.ipc.open_stream(body).read_all())
    if not table.schema.equals(record_schema(dimensions)):
        raise _no_records()
    _read(lambda: table.validate(full=True))
    return table


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except (pa.ArrowException, OSError):
        raise _no_records() from None  # the cause may quote what was sent


def _no_records() -> InvalidInput:
    return InvalidInput("the body holds no records", fix="send an Arrow stream of records")


def _stream(records: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, records.schema) as writer:
        writer.write_table(records)
    return sink.getvalue().to_pybytes()


def _answer(marker: Marker | None) -> Response:
    return Response(_marker.dump_json(marker), media_type="application/json")
