"""What an upload asks for, read from the fields and headers of its form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request
from pydantic import BaseModel, JsonValue

from vectorflow.api import names
from vectorflow.api.backend import Backend, Place, StoreNamed, Wanted
from vectorflow.api.schemas import (
    EmbeddingsMetadata,
    VectorDBMetadata,
    read_json,
    read_metadata,
)
from vectorflow.domain.credentials import Credentials
from vectorflow.domain.documents import canonical_json, content_hash
from vectorflow.domain.pipelines import Pipeline, validation_digest, webhook_store
from vectorflow.domain.store_rules import check_index_name
from vectorflow.errors import InvalidInput
from vectorflow.ledger.retry_requests import RetryRequest
from vectorflow.service.secrets import seal_credentials

MAX_DOCUMENT_ID = 1000
MAX_IDEMPOTENCY_KEY = 200
MAX_CREDENTIAL = 4096
MAX_URL = 4096

_NUMBER = re.compile(r"[0-9]{1,9}")

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a form asks for, understood and checked."""

    tenant: str
    pipeline: Pipeline
    index: int | None
    """Row of the index; None for vectors that are delivered."""
    document_id: str
    """As given; empty where it was not."""
    external_id: str
    """Of the document; empty means by file name and content."""
    metadata: dict[str, JsonValue]
    sealed: str | None
    """Credentials that came with the request."""


async def read_order(backend: Backend, request: Request, fields: Fields) -> Order:
    """Understand a form, and see that its index and its keys are good for it.

    Raises:
        InvalidInput, KeyRefused, IndexRefused, NotFound: It cannot be done.
    """
    tenant: str = request.state.tenant
    given = _credentials(backend, request, fields)
    pipeline = backend.pipeline(await _wanted(backend, tenant, fields, given))
    await backend.check_embedder(tenant, pipeline, given)
    document_id = _document_id(fields)
    metadata = fields.get("Metadata")
    return Order(
        tenant=tenant,
        pipeline=pipeline,
        index=None if pipeline.delivers else await backend.open_index(tenant, pipeline, given),
        document_id=document_id,
        external_id=document_id,
        metadata=read_metadata("Metadata", metadata) if metadata else {},
        sealed=seal_credentials(backend.secrets, tenant, given) if given else None,
    )


def url_field(backend: Backend, fields: Fields, name: str) -> str | None:
    """Read a field that holds an address which we are to call.

    Raises:
        InvalidInput: It is too long.
        ForbiddenAddress: It may not be called from here.
    """
    return checked_url(backend, name, fields.get(name))


def checked_url(backend: Backend, name: str, given: str | None) -> str | None:
    """Give an address that we may call; None where none is given.

    Raises:
        InvalidInput: It is too long.
        ForbiddenAddress: It may not be called from here.
    """
    url = (given or "").strip()
    if not url:
        return None
    if len(url) > MAX_URL:
        raise InvalidInput(f"{name} is too long", fix=f"send at most {MAX_URL} characters")
    backend.check_url(name, url)
    return url


def _credentials(backend: Backend, request: Request, fields: Fields) -> Credentials:
    webhook = url_field(backend, fields, "WebhookURL")
    webhook_key = header_key(request, "X-Webhook-Key")
    if webhook and not webhook_key:
        message = "there is a WebhookURL, but no webhook key"
        raise InvalidInput(message, fix="send the key in the header X-Webhook-Key")
    return Credentials(
        embedding_key=header_key(request, "X-EmbeddingAPI-Key"),
        store_key=None if webhook else header_key(request, "X-VectorDB-Key"),
        webhook_url=webhook,
        webhook_key=webhook_key if webhook else None,
        validation_url=url_field(backend, fields, "ChunkValidationURL"),
    )


def idempotency_key(request: Request) -> str | None:
    """Read the name that a client gives its request, under which it may be sent again.

    Raises:
        InvalidInput: It is too long, or holds what cannot be seen.
    """
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > MAX_IDEMPOTENCY_KEY or not key.isprintable():
        message = "the Idempotency-Key is too long or not printable"
        raise InvalidInput(message, fix=f"send at most {MAX_IDEMPOTENCY_KEY} characters")
    return key or None


def retry_request(request: Request, asked: BaseModel, job: int | None) -> RetryRequest | None:
    """Tell a request to retry from others; None where it has no name.

    Raises:
        InvalidInput: Its name cannot be one.
    """
    key = idempotency_key(request)
    if key is None:
        return None
    told_by = canonical_json([job, asked.model_dump()])
    tenant: str = request.state.tenant
    return RetryRequest(tenant=tenant, key=key, request_hash=content_hash(told_by.encode()))


def header_key(request: Request, name: str) -> str | None:
    """Read a header that holds a key.

    Raises:
        InvalidInput: It holds what no key does.
    """
    value = request.headers.get(name, "").strip()
    if len(value) > MAX_CREDENTIAL or not value.isprintable() or not value.isascii():
        message = f"the header {name} is too long or holds what no key does"
        raise InvalidInput(message, fix=f"send at most {MAX_CREDENTIAL} plain characters")
    return value or None


async def _wanted(backend: Backend, tenant: str, fields: Fields, given: Credentials) -> Wanted:
    embeddings = read_json(EmbeddingsMetadata, *_required(fields, "EmbeddingsMetadata"))
    store = read_json(VectorDBMetadata, *_required(fields, "VectorDBMetadata"))
    lines = _number(fields, "LinesPerBatch", least=1) or _number(fields, "LinesPerChunk", least=1)
    overlap = _number(fields, "chunk_overlap", least=0)
    if embeddings.chunk_overlap is not None:
        overlap = embeddings.chunk_overlap
    return Wanted(
        embedder=names.embedder_of(backend, embeddings),
        chunker=names.chunker_of(embeddings.chunk_strategy),
        size=embeddings.chunk_size,
        overlap=overlap,
        lines=lines,
        validation=given.validation_url and validation_digest(given.validation_url),
        place=await _place(backend, tenant, store, given),
    )


async def _place(
    backend: Backend, tenant: str, store: VectorDBMetadata, given: Credentials
) -> Place:
    """Find the index; a webhook stands in for it, whatever store is named beside."""
    if given.webhook_url:
        return Place(store=webhook_store(given.webhook_url), index="delivered")
    named = StoreNamed(
        plugin=names.store_of(store.vector_db_type),
        environment=(store.environment or "").strip(),
        index_name=store.index_name,
        collection=store.collection or "",
        key=given.store_key,
    )
    check_index_name(store.index_name)
    return await backend.place(tenant, named)


def _required(fields: Fields, name: str) -> tuple[str, str]:
    value = fields.get(name)
    if not value:
        raise InvalidInput(f"the field {name} is missing", fix="send it, as a JSON object")
    return name, value


def _number(fields: Fields, name: str, *, least: int) -> int | None:
    value = fields.get(name, "").strip()
    if not value:
        return None
    number = int(value) if _NUMBER.fullmatch(value) else -1
    if number < least:
        message = f"{name} is not a whole number from {least}"
        raise InvalidInput(message, fix="send one, or leave it out")
    return number


def _document_id(fields: Fields) -> str:
    given = fields.get("DocumentID", "")
    if len(given) > MAX_DOCUMENT_ID or not given.isprintable():
        message = "DocumentID is too long or not printable"
        raise InvalidInput(message, fix=f"send at most {MAX_DOCUMENT_ID} characters")
    return given
