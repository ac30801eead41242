"""Upload one file and embed it."""

import asyncio
import re
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, Request
from pydantic import JsonValue

from vectorflow.api import names
from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.api.schemas import (
    Embedded,
    EmbeddingsMetadata,
    VectorDBMetadata,
    read_json,
    read_metadata,
)
from vectorflow.api.uploads import Form, Upload, declared_length, discard, no_room, receive_form
from vectorflow.domain.access import KeyScope
from vectorflow.domain.documents import BlobRange, canonical_json, content_hash
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import EmptyDocument, InvalidInput, Permanent, Transient
from vectorflow.ledger import reads
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.service.submit import accept

FILE_PART = "SourceData"
LATER_FIELDS = ("WebhookURL", "ChunkValidationURL", "PreSignedURL")
MAX_FILE_NAME = 500
MAX_DOCUMENT_ID = 1000
MAX_IDEMPOTENCY_KEY = 256

_NUMBER = re.compile(r"[0-9]{1,9}")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What a form asks for, understood."""

    pipeline: Pipeline
    external_id: str
    metadata: dict[str, JsonValue]


def embed_routes(backend: Backend) -> APIRouter:
    """Make the route of uploads."""
    router = APIRouter()

    @router.post("/embed")
    async def embed(request: Request) -> Embedded:
        """Keep a file, make a job of it, and answer once both are durable."""
        require(request, KeyScope.EMBED)
        key = _idempotency_key(request)
        await _check_room(backend, request)
        form = await receive_form(request, backend.blobs, backend.limits, FILE_PART)
        try:
            upload = _the_file(form)
            order = _read_order(backend, form, upload)
            new = await _new_job(backend, request, order, (key, _request_hash(form)))
            job = await accept(backend.database, new, [_accepted(backend, upload, order)])
        except Permanent:  # of anything else it is not sure that nothing was committed
            await discard(backend.blobs, form)
            raise
        batches = await _settle(backend, job, form)
        message = f"Successfully added {batches} batches to the queue"
        return Embedded(message=message, job=job)

    return router


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > MAX_IDEMPOTENCY_KEY or not key.isprintable():
        message = "the Idempotency-Key is too long or not printable"
        raise InvalidInput(message, fix=f"send at most {MAX_IDEMPOTENCY_KEY} characters")
    return key or None


async def _check_room(backend: Backend, request: Request) -> None:
    """Refuse at the door what would leave too little room for work that is under way."""
    free = await asyncio.to_thread(backend.blobs.free_bytes)
    coming = min(declared_length(request), backend.limits.upload_bytes)
    if free is not None and free - coming < backend.limits.free_floor_bytes:
        raise no_room()


def _the_file(form: Form) -> Upload:
    if not form.files:
        raise InvalidInput(
            "there is no file in the form", fix=f"send one, in a part named {FILE_PART}"
        )
    upload = form.files[0]
    if not upload.name or len(upload.name) > MAX_FILE_NAME or not upload.name.isprintable():
        message = "the file has no name, or one that cannot be kept"
        raise InvalidInput(message, fix=f"name it with at most {MAX_FILE_NAME} characters")
    if upload.blank:
        raise EmptyDocument("there is no text in the file", fix="send a file with text in it")
    return upload


def _read_order(backend: Backend, form: Form, upload: Upload) -> _Order:
    for name in LATER_FIELDS:
        if form.fields.get(name):
            message = f"{name} is not supported by this server yet"
            raise InvalidInput(message, fix="leave it out")
    embeddings = read_json(EmbeddingsMetadata, *_field(form, "EmbeddingsMetadata"))
    store = read_json(VectorDBMetadata, *_field(form, "VectorDBMetadata"))
    _number(form, "LinesPerBatch", least=1)
    _number(form, "LinesPerChunk", least=1)
    overlap = _number(form, "chunk_overlap", least=0)
    metadata = form.fields.get("Metadata")
    return _Order(
        pipeline=backend.pipeline(names.wanted(backend, embeddings, store, overlap)),
        external_id=_external_id(form, upload),
        metadata=read_metadata("Metadata", metadata) if metadata else {},
    )


def _field(form: Form, name: str) -> tuple[str, str]:
    value = form.fields.get(name)
    if not value:
        raise InvalidInput(f"the field {name} is missing", fix="send it, as a JSON object")
    return name, value


def _number(form: Form, name: str, *, least: int) -> int | None:
    value = form.fields.get(name, "").strip()
    if not value:
        return None
    number = int(value) if _NUMBER.fullmatch(value) else -1
    if number < least:
        message = f"{name} is not a whole number from {least}"
        raise InvalidInput(message, fix="send one, or leave it out")
    return number


def _external_id(form: Form, upload: Upload) -> str:
    given = form.fields.get("DocumentID", "")
    if len(given) > MAX_DOCUMENT_ID or not given.isprintable():
        message = "DocumentID is too long or not printable"
        raise InvalidInput(message, fix=f"send at most {MAX_DOCUMENT_ID} characters")
    return given or f"{upload.name}-{upload.digest}"


def _request_hash(form: Form) -> str:
    """Tell requests apart: every field, the file's name and its content."""
    files = [[upload.part, upload.name, upload.digest] for upload in form.files]
    return content_hash(canonical_json([form.fields, files]).encode())


async def _new_job(
    backend: Backend, request: Request, order: _Order, identity: tuple[str | None, str]
) -> NewJob:
    tenant: str = request.state.tenant
    key, request_hash = identity
    return NewJob(
        tenant=tenant,
        index=await backend.open_index(tenant, order.pipeline),
        pipeline=order.pipeline,
        scope="",
        idempotency_key=key,
        request_hash=request_hash if key else None,
    )


def _accepted(backend: Backend, upload: Upload, order: _Order) -> Accepted:
    extractor = backend.detect(upload.name)
    return Accepted(
        external_id=order.external_id,
        uri=upload.name,
        raw_hash=upload.digest,
        recipe_hash=order.pipeline.recipe.digest(extractor, order.metadata),
        extractor=extractor,
        source=BlobRange(blob=upload.blob, start=0, length=upload.size),
        metadata=order.metadata,
    )


async def _settle(backend: Backend, job: int, form: Form) -> int:
    """Wait a little for the extraction, and count the batches; the job is safe whatever happens."""
    find = partial(reads.upload, job=job, blob=form.files[0].blob)
    clock = asyncio.get_running_loop().time
    ends = clock() + backend.limits.answer_seconds
    pause = _FIRST_PAUSE
    try:
        view = await backend.database.read(find)
        if not view.kept:
            await discard(backend.blobs, form)  # the same request again, or nothing changed
        while view.extracting and clock() < ends:
            await asyncio.sleep(min(pause, ends - clock()))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            view = await backend.database.read(find)
    except Transient:
        return 1
    return max(1, view.embed_batches)
