"""Parts -> the HTTP API."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vectorflow.adapters._addresses import hook_policy
from vectorflow.api.backend import Backend, Limits, Place, StoreNamed, Wanted
from vectorflow.api.keys import key_check
from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials, account_of
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import ForbiddenAddress, InvalidInput, KeyRefused
from vectorflow.ledger import secrets
from vectorflow.ledger.secrets import Sealed
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service.indexes import check_there, open_for_writing
from vectorflow.settings import ChunkingSettings
from vectorflow.wiring.credentials import completed, for_store
from vectorflow.wiring.desk import make_desk
from vectorflow.wiring.metrics import make_page
from vectorflow.wiring.parts import Parts
from vectorflow.wiring.places import Places
from vectorflow.wiring.recipes import LOOPBACK, detect, make_recipe

if TYPE_CHECKING:
    from fastapi import FastAPI

LOCAL_EMBEDDER = "local:all-MiniLM-L6-v2"

DUTY_PATIENCE = 600.0
"""Seconds that workers have for overdue duties, which would make an API large and slow."""

REMEMBERED_SECONDS = 5.0
"""An index that could be written into is not looked at again for so long; a store that loses it
meanwhile is noticed by the worker."""

REMEMBERED_INDEXES = 1024


def build_api(parts: Parts) -> "FastAPI":
    """Make the HTTP API of open parts, which the caller closes after the last request.

    Raises:
        InvalidInput: The settings describe a pipeline that cannot be.
    """
    from vectorflow.api.app import make_app  # noqa: PLC0415 - others need no web framework

    return make_app(api_backend(parts))


def api_backend(parts: Parts, environ: Mapping[str, str] = os.environ) -> Backend:
    """Gather what the API needs; LOCAL_VECTOR_DB is a name that clients may give the store."""
    settings = parts.settings
    places = Places(settings, parts.store_locator(), environ)
    door = _Door(parts, places)

    @lru_cache(maxsize=256)
    def pipeline(wanted: Wanted) -> Pipeline:
        chosen = replace(
            settings,
            chunking=_chunking(settings.chunking, wanted),
            embedder=wanted.embedder or settings.embedder,
        )
        return Pipeline(
            recipe=make_recipe(chosen, lines=wanted.lines, validation=wanted.validation),
            embedder=chosen.embedder,
            store=wanted.place.store,
            index=wanted.place.index,
        )

    own = Place(store=parts.store_locator(), index=settings.index)
    pipeline(Wanted(place=own))  # a setting that cannot work shows at the start
    keys = [key.get_secret_value() for key in settings.api.keys]
    policy = hook_policy(settings.hooks.allow, offline=settings.offline)

    def check_url(name: str, url: str) -> None:
        try:
            policy.target(url)
        except ForbiddenAddress as error:
            raise ForbiddenAddress(f"{name}: {error.message}", fix=error.fix) from None

    return Backend(
        database=parts.database,
        blobs=parts.blobs,
        access_of=key_check(parts.database, keys, parts.tenant),
        place=door.place,
        pipeline=pipeline,
        open_index=door.open_index,
        open_store=door.open_store,
        check_embedder=door.check_embedder,
        detect=detect,
        hooks=parts.hooks,
        check_url=check_url,
        secrets=parts.secrets,
        zombie_seconds=parts.zombie_seconds,
        embedder=settings.embedder,
        local_embedder=_local_embedder(settings.embedder),
        limits=Limits(
            upload_bytes=settings.api.max_upload_bytes,
            batch_bytes=settings.api.max_batch_bytes,
            free_floor_bytes=settings.blobs.free_floor_bytes,
        ),
        desk=make_desk(parts),
        metrics=make_page(settings, parts.metrics, parts.database),
    )


class _Door:
    """What is asked of stores and providers before an upload is taken."""

    def __init__(self, parts: Parts, places: Places) -> None:
        self._parts = parts
        self._places = places
        self._open: dict[tuple[str, str, str], tuple[float, int]] = {}

    async def place(self, tenant: str, named: StoreNamed) -> Place:
        """Find a store; where a client sends no key, the tenant's own is tried."""
        kept: str | None = None
        if named.key is None and named.plugin == "pinecone":
            kept = (await self._completed(tenant, "", "pinecone://")).store_key
        return await self._places.find(named, kept)

    async def open_index(self, tenant: str, pipeline: Pipeline, given: Credentials) -> int:
        """Give the row of an index that can be written into."""
        given = for_store(pipeline.store, given)
        known = (tenant, pipeline.digest, account_of(given.store_key))
        ends, row = self._open.get(known, (0.0, 0))
        if time.monotonic() < ends:
            return row
        # the embedder's key is no matter here, so none of them is opened
        credentials = await self._completed(tenant, "", pipeline.store, given)
        store = await self._parts.store(pipeline.store, credentials.store_key)
        await check_there(store, pipeline)
        row = await open_for_writing(self._parts.database, store, tenant=tenant, pipeline=pipeline)
        if len(self._open) >= REMEMBERED_INDEXES:
            self._open.clear()
        self._open[known] = (time.monotonic() + REMEMBERED_SECONDS, row)
        return row

    async def open_store(self, tenant: str, locator: str, given: Credentials) -> VectorStore:
        """Open a store that a job of the tenant wrote into."""
        credentials = await self._completed(tenant, "", locator, given)
        return await self._parts.store(locator, credentials.store_key)

    async def check_embedder(self, tenant: str, pipeline: Pipeline, given: Credentials) -> None:
        """Refuse what would only fail later for want of a key."""
        settings = self._parts.settings
        host = urlsplit(settings.openai.base_url).hostname
        paid = pipeline.embedder.startswith("openai:") and host not in LOOPBACK
        if not paid or given.embedding_key or settings.openai.key:
            return
        completed = await self._completed(tenant, pipeline.embedder, "")
        if completed.embedding_key is None:
            message = "there is no key for the embedding provider"
            fix = "send it in the header X-EmbeddingAPI-Key, or set OPEN_AI_KEY on the server"
            raise KeyRefused(message, fix=fix)

    async def _completed(
        self, tenant: str, embedder: str, store: str, given: Credentials = NO_CREDENTIALS
    ) -> Credentials:
        parts = self._parts
        sealed = await parts.database.read(partial(secrets.tenant_secrets, tenant=tenant))
        rest = Sealed(tenant=tenant, job=None, tenants=sealed)
        return completed(parts.settings, parts.secrets, rest, embedder, store, given)


def _local_embedder(own: str) -> str:
    return LOCAL_EMBEDDER if own.startswith("openai:") else own


def _chunking(given: ChunkingSettings, wanted: Wanted) -> ChunkingSettings:
    """Put what a request asks for in the place of what the settings say."""
    size, overlap = wanted.size or given.size, wanted.overlap
    if overlap is None and wanted.size is None:
        overlap = given.overlap
    if size is not None and overlap is not None and overlap >= size:
        message = f"an overlap of {overlap} tokens does not fit into chunks of {size}"
        raise InvalidInput(message, fix=f"ask for an overlap below {size}")
    return ChunkingSettings(chunker=wanted.chunker or given.chunker, size=size, overlap=overlap)
