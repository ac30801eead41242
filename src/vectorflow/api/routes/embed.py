"""Upload files, or name one to fetch, and embed them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from fastapi import APIRouter, Request

from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.api.intake import Identity, Intake
from vectorflow.api.orders import Order, idempotency_key, read_order, url_field
from vectorflow.api.schemas import Embedded, FilesProcessed
from vectorflow.api.uploads import (
    FileHeader,
    Form,
    Rules,
    Upload,
    declared_length,
    discard,
    keep_file,
    receive_form,
)
from vectorflow.domain.access import KeyScope
from vectorflow.domain.documents import canonical_json, content_hash
from vectorflow.domain.fairness import lane_of
from vectorflow.errors import (
    EmptyDocument,
    InvalidInput,
    Permanent,
    TooLarge,
    Transient,
    VectorFlowError,
)

FILE_PART = "SourceData"
FILES_PART = "file"
URL_FIELD = "PreSignedURL"
MAX_FILE_NAME = 500


def embed_routes(backend: Backend) -> APIRouter:
    """Make the routes of uploads."""
    router = APIRouter()
    intake = Intake(backend)

    @router.post("/embed")
    @router.post("/s3")
    async def embed(request: Request) -> Embedded:
        """Keep one file, sent or fetched; make a job of it; answer once both are durable."""
        require(request, KeyScope.EMBED)
        return await _embed(backend, intake, request)

    @router.post("/jobs")
    async def jobs(request: Request) -> FilesProcessed:
        """Keep many files and make a job of each; answer once all of them are durable."""
        require(request, KeyScope.EMBED)
        return await _jobs(backend, intake, request)

    return router


async def _embed(backend: Backend, intake: Intake, request: Request) -> Embedded:
    limits = backend.limits
    most = limits.upload_bytes
    rules = Rules(part=FILE_PART, files=1, file_bytes=most, body_bytes=most)
    key = idempotency_key(request)
    await intake.check_room(min(declared_length(request), rules.body_bytes))
    form = await receive_form(request, backend.blobs, limits, rules)
    async with _discarding(backend, form, BaseException):
        order = await read_order(backend, request, form.fields)
        upload = await _the_file(backend, form)
    identity = (key, _request_hash(form, upload)) if key else None
    async with _discarding(backend, form, Permanent):  # else it may be committed all the same
        extractor = backend.detect(upload.name, upload.head)
        lane = lane_of(upload.size)
        taken = await intake.take(order, upload, extractor, identity, lane=lane)
    if not taken.kept:
        await discard(backend.blobs, form.files)
    batches = await intake.batches(taken, seconds=limits.answer_seconds)
    return Embedded(message=f"Successfully added {batches} batches to the queue", job=taken.job)


async def _jobs(backend: Backend, intake: Intake, request: Request) -> FilesProcessed:
    limits = backend.limits
    most = limits.batch_bytes
    rules = Rules(part=FILES_PART, files=limits.files, file_bytes=most, body_bytes=most)
    key = idempotency_key(request)
    await intake.check_room(min(declared_length(request), rules.body_bytes))
    form = await receive_form(request, backend.blobs, limits, rules)
    async with _discarding(backend, form, BaseException):
        order = await read_order(backend, request, form.fields)
        if not form.files:
            raise _no_file(FILES_PART)
    if len(form.files) > 1:  # one id would make them versions of one document
        order = replace(order, external_id="")
    sorting = _Sorting(backend, intake, order, form, key)
    await _take_all(sorting)
    return FilesProcessed(
        message="Files processed",
        successful_uploads=sorting.jobs,
        failed_uploads=sorting.failed,
        empty_files_count=sorting.empty,
        duplicate_files_count=sorting.duplicates,
    )


@asynccontextmanager
async def _discarding(
    backend: Backend, form: Form, errors: type[BaseException]
) -> AsyncGenerator[None]:
    """Keep none of the files if one of these errors comes up."""
    try:
        yield
    except errors:
        await discard(backend.blobs, form.files)
        raise


@dataclass(slots=True)
class _Sorting:
    """Files of one request on their way into jobs of their own."""

    backend: Backend
    intake: Intake
    order: Order
    form: Form
    key: str | None
    jobs: dict[str, int] = field(default_factory=dict[str, int])
    """By name; a second file of a name is called `name (2)`."""
    failed: list[str] = field(default_factory=list[str])
    empty: int = 0
    duplicates: int = 0


async def _take_all(sorting: _Sorting) -> None:
    """Make a job of each file that has text and did not come before in the same request.

    Raises:
        Transient: Not one could be taken.
    """
    chosen = _worth_taking(sorting)
    done = await asyncio.gather(
        *(_take_one(sorting, place, upload) for place, upload in chosen), return_exceptions=True
    )
    unkept = [upload for upload in sorting.form.files if upload not in {one for _, one in chosen}]
    for (_, upload), job in zip(chosen, done, strict=True):
        if isinstance(job, VectorFlowError):
            sorting.failed.append(upload.name)
            unkept += [upload] if isinstance(job, Permanent) else []
        elif isinstance(job, BaseException):
            raise job
        else:
            sorting.jobs[_free_name(sorting.jobs, upload.name)] = job
    await discard(sorting.backend.blobs, unkept)
    errors = [error for error in done if isinstance(error, Transient)]
    if errors and not sorting.jobs:
        raise errors[0]


def _worth_taking(sorting: _Sorting) -> list[tuple[int, Upload]]:
    seen: set[tuple[str, str]] = set()
    chosen: list[tuple[int, Upload]] = []
    for place, upload in enumerate(sorting.form.files):
        if not _is_name(upload.name):
            sorting.failed.append(upload.name[:MAX_FILE_NAME])
        elif upload.blank:
            sorting.empty += 1
        elif (upload.name, upload.digest) in seen:
            sorting.duplicates += 1
        else:
            seen.add((upload.name, upload.digest))
            chosen.append((place, upload))
    return chosen


async def _take_one(sorting: _Sorting, place: int, upload: Upload) -> int:
    identity: Identity | None = None
    if sorting.key:
        identity = (f"{sorting.key}/{place}", _request_hash(sorting.form, upload))
    extractor = sorting.backend.detect(upload.name, upload.head)
    taken = await sorting.intake.take(sorting.order, upload, extractor, identity)
    if not taken.kept:
        await discard(sorting.backend.blobs, [upload])
    return taken.job


def _free_name(taken: dict[str, int], name: str) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    return free


async def _the_file(backend: Backend, form: Form) -> Upload:
    """Give the file that was sent, or fetch the one that was named."""
    if not form.files:
        url = url_field(backend, form.fields, URL_FIELD)
        if url is None:
            raise _no_file(f"{FILE_PART}, or its address as {URL_FIELD}")
        form.files.append(await _fetched(backend, url))
    elif form.fields.get(URL_FIELD):
        message = f"the form holds a file and a {URL_FIELD}"
        raise InvalidInput(message, fix="send one of them")
    upload = form.files[0]
    if not _is_name(upload.name):
        message = "the file has no name, or one that cannot be kept"
        raise InvalidInput(message, fix=f"name it with at most {MAX_FILE_NAME} characters")
    if upload.blank:
        raise EmptyDocument("there is no text in the file", fix="send a file with text in it")
    return upload


async def _fetched(backend: Backend, url: str) -> Upload:
    hooks = await backend.hooks()
    limit = backend.limits.batch_bytes
    try:
        async with hooks.fetch(url, limit=limit) as found:
            header = FileHeader(URL_FIELD, found.name or "fetched")
            return await keep_file(found.blocks, header, backend.blobs, limit)
    except TooLarge as error:
        fix = "name a smaller file, or raise VECTORFLOW_API__MAX_BATCH_BYTES on the server"
        raise TooLarge(error.message, fix=fix) from None


def _is_name(name: str) -> bool:
    return bool(name) and len(name) <= MAX_FILE_NAME and name.isprintable()


def _no_file(part: str) -> InvalidInput:
    return InvalidInput("there is no file in the form", fix=f"send one, in a part named {part}")


def _request_hash(form: Form, upload: Upload) -> str:
    """Tell requests apart: every field, the file's name and its content."""
    return content_hash(canonical_json([form.fields, upload.name, upload.digest]).encode())
