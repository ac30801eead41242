"""Parts -> the HTTP API."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from vectorflow.api.backend import Backend, Limits, Wanted
from vectorflow.api.keys import key_check
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import InvalidInput
from vectorflow.service.indexes import open_for_writing
from vectorflow.settings import ChunkingSettings
from vectorflow.wiring.parts import Parts
from vectorflow.wiring.recipes import detect, make_recipe, store_locator

if TYPE_CHECKING:
    from fastapi import FastAPI


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
    locator = parts.store_locator()
    place = store_locator(settings.store_url)

    @lru_cache(maxsize=256)
    def pipeline(wanted: Wanted) -> Pipeline:
        return Pipeline(
            recipe=make_recipe(replace(settings, chunking=_chunking(settings.chunking, wanted))),
            embedder=settings.embedder,
            store=locator,
            index=wanted.index,
        )

    async def open_index(tenant: str, pipeline: Pipeline) -> int:
        store = await parts.store(pipeline.store)
        return await open_for_writing(parts.database, store, tenant=tenant, pipeline=pipeline)

    pipeline(Wanted(index=settings.index))  # a setting that cannot work shows at the start
    keys = [key.get_secret_value() for key in settings.api.keys]
    return Backend(
        database=parts.database,
        blobs=parts.blobs,
        tenant_of=key_check(parts.database, keys, parts.tenant),
        pipeline=pipeline,
        open_index=open_index,
        detect=detect,
        is_store=lambda name: name == environ.get("LOCAL_VECTOR_DB") or _is_store(name, place),
        store=locator.partition("://")[0],
        embedder=settings.embedder,
        limits=Limits(
            upload_bytes=settings.api.max_upload_bytes,
            free_floor_bytes=settings.blobs.free_floor_bytes,
        ),
    )


def _chunking(given: ChunkingSettings, wanted: Wanted) -> ChunkingSettings:
    """Put what a request asks for in the place of what the settings say."""
    size, overlap = wanted.size or given.size, wanted.overlap
    if overlap is None and wanted.size is None:
        overlap = given.overlap
    if size is not None and overlap is not None and overlap >= size:
        message = f"an overlap of {overlap} tokens does not fit into chunks of {size}"
        raise InvalidInput(message, fix=f"ask for an overlap below {size}")
    return ChunkingSettings(chunker=wanted.chunker or given.chunker, size=size, overlap=overlap)


def _is_store(name: str, locator: str) -> bool:
    """Whether a URL, or what stands behind its scheme, is the place of this locator."""
    scheme = locator.partition("://")[0]
    url = name if "://" in name else f"{scheme}://{name}"
    try:
        return url.startswith(f"{scheme}:") and store_locator(url) == locator
    except (InvalidInput, ValueError):  # a NUL is in no path
        return False
