"""The vectors of a job, streamed while it runs."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated

import orjson
import pyarrow as pa
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.api.errors import refusal_of
from vectorflow.api.jobs import find_job
from vectorflow.api.orders import header_key
from vectorflow.domain.access import KeyScope
from vectorflow.domain.credentials import Credentials
from vectorflow.errors import InvalidInput, VectorFlowError
from vectorflow.ledger import exports
from vectorflow.ledger.reads import JobView
from vectorflow.service.vector_formats import NDJSON, STREAMS, Format
from vectorflow.service.vectors import Origin, export_job, export_schema

log = logging.getLogger(__name__)

STORE_KEY = "X-VectorDB-Key"

_WAIT = {"true": True, "1": True, "false": False, "0": False}

Tables = AsyncGenerator[pa.Table]


def vector_routes(backend: Backend) -> APIRouter:
    """Make the route that gives vectors back."""
    router = APIRouter()

    @router.get("/v1/jobs/{job_id}/vectors")
    async def vectors(request: Request, job_id: Annotated[int, Path()]) -> Response:
        """Stream the records of a job's documents; what goes wrong at once has a status."""
        require(request, KeyScope.READ)
        view = await find_job(backend, request, job_id)
        form, wait = _format(request), _wait(request)
        origin = await _origin(backend, request, view)
        tables = export_job(origin, tenant=request.state.tenant, job=view.id, wait=wait)
        first = await anext(tables, None)
        schema = export_schema(origin.index.dimensions)
        return StreamingResponse(
            _body(form, schema, first, tables),
            media_type=form.media_type,
            headers={
                "Content-Disposition": f'attachment; filename="job-{view.id}.{form.name}"',
                "X-Accel-Buffering": "no",
            },
        )

    return router


async def _body(
    form: Format, schema: pa.Schema, first: pa.Table | None, tables: Tables
) -> AsyncGenerator[bytes]:
    """Write what comes. A stream that breaks off has no end by which it could pass for whole."""
    encoder = form.encoder(schema)
    records = 0
    try:
        async with aclosing(_chained(first, tables)) as all_tables:
            async for table in all_tables:
                records += len(table)
                if len(table) and (data := await asyncio.to_thread(encoder.write, table)):
                    yield data
    except VectorFlowError as error:
        log.warning("vectors_broke_off", extra={"error": error.code, "records": records})
        if form is not NDJSON:
            raise  # the server closes the connection in the middle of the body
        yield orjson.dumps(refusal_of(error).sentence(), option=orjson.OPT_APPEND_NEWLINE)
        return
    rest = await asyncio.to_thread(encoder.end)  # a whole row group of Parquet, perhaps
    yield rest + (_end_line(records) if form is NDJSON else b"")


async def _chained(first: pa.Table | None, rest: Tables) -> Tables:
    if first is not None:
        yield first
    async with aclosing(rest):
        async for table in rest:
            yield table


def _end_line(records: int) -> bytes:
    return orjson.dumps({"end": True, "records": records}, option=orjson.OPT_APPEND_NEWLINE)


async def _origin(backend: Backend, request: Request, view: JobView) -> Origin:
    given = Credentials(store_key=header_key(request, STORE_KEY))
    index = await backend.database.read(partial(exports.exported, index=view.index_id))
    return Origin(
        database=backend.database,
        blobs=backend.blobs,
        index=index,
        store=partial(backend.open_store, request.state.tenant, index.locator, given),
    )


def _format(request: Request) -> Format:
    """Choose by `?format=`, else by Accept: the first of the best-loved that we can write."""
    named = request.query_params.get("format")
    wanted = [named.lower()] if named is not None else _accepted(request)
    for name in wanted:
        for form in STREAMS:
            if name in {form.name, form.media_type, "*/*", "application/*"}:
                return form
    known = ", ".join(form.media_type for form in STREAMS)
    raise HTTPException(
        406, f"vectors are not given in that format; send Accept with one of {known}"
    )


def _accepted(request: Request) -> list[str]:
    """List media types, the best-loved first; without the header any will do."""
    ranges: list[tuple[float, str]] = []
    for item in (request.headers.get("accept") or "*/*").lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        ranges.append((_quality(parameters), name))
    ranges.sort(key=lambda item: -item[0])
    return [name for quality, name in ranges if quality > 0]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _wait(request: Request) -> bool:
    given = request.query_params.get("wait", "true").lower()
    if given not in _WAIT:
        raise InvalidInput("wait is neither true nor false", fix="send wait=false, or leave it out")
    return _WAIT[given]
