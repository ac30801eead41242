"""Settings -> a running worker, API or both; the only place that joins parts."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

from vectorflow import plugins
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.api.backend import Backend, Limits, Wanted
from vectorflow.api.keys import key_check
from vectorflow.domain.pipelines import Chunking, Pipeline, Recipe
from vectorflow.errors import InvalidInput, InvalidSetting, MissingExtra, VectorFlowError
from vectorflow.ledger import claims, schema, submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.work import LedgerWork
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.ports.vector_store import Upkeep, VectorStore
from vectorflow.ports.work import Lease
from vectorflow.service.extract import Cutters
from vectorflow.service.indexes import open_for_writing
from vectorflow.service.listings import is_dead
from vectorflow.service.recover import run_due, standard_duties
from vectorflow.settings import ChunkingSettings, Settings
from vectorflow.worker.loop import Worker, WorkerOptions
from vectorflow.worker.seat import seat
from vectorflow.worker.targets import Workshop

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)

DEFAULT_CHUNK_TOKENS = 512

EMBEDDED_OWNER = "embedded:"
"""How workers that hold the seat of a data directory sign their leases."""

DUTY_SECONDS = 1.0

LOOPBACK = ("localhost", "127.0.0.1", "::1")

LOCAL_SCHEMES = ("lancedb", "memory", "sqlite")
"""What follows the slashes in their URLs is a path or a name, not a host."""

DATA_DIR = "{data_dir}"
"""Stands in locators for the data directory, so that a store inside it may be moved with it."""


class Parts(Workshop):
    """The parts of one process, each opened once and closed in order."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tenant = "default"
        self.database: Database
        self.blobs: BlobStore
        self._stack = AsyncExitStack()
        self._worker: Worker | None = None
        self._stores: dict[str, VectorStore] = {}
        self._embedders: dict[str, Embedder] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open the ledger; an embedded one is made or upgraded on the way.

        Raises:
            InvalidSetting: The ledger cannot be used with this release.
        """
        if self.settings.offline:
            check_offline(self.settings)
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.blobs = FileBlobStore(self.settings.data_dir / "blobs")
        self.database = Database(self.settings.database_url)
        self._stack.callback(self.database.close)
        prepare = schema.upgrade if self.database.embedded else schema.check
        try:
            await asyncio.to_thread(prepare, self.database)
        except VectorFlowError:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def store(self, locator: str) -> VectorStore:
        """Open a store by its locator; the configured one with its own credentials."""
        async with self._opening:
            if locator not in self._stores:
                configured = self.store_locator() == locator
                place = locator.replace(f"://{DATA_DIR}/", f"://{self._home}/", 1)
                url = self.settings.store_url if configured else place
                made = _make_store(url, timeout=self.settings.worker.store_timeout)
                self._stores[locator] = await self._stack.enter_async_context(made)
            return self._stores[locator]

    async def embedder(self, name: str) -> Embedder:
        """Open an embedder, `plugin:model`."""
        async with self._opening:
            if name not in self._embedders:
                made = make_embedder(name)
                self._embedders[name] = await self._stack.enter_async_context(made)
            return self._embedders[name]

    def cutters(self, lease: Lease) -> Cutters:
        """Make the extractors and the chunker of a lease's pipeline."""
        return make_cutters(lease.pipeline.recipe)

    def store_locator(self) -> str:
        """Canonical locator of the configured store; one in the data directory moves with it.

        A ledger elsewhere may be shared by several data directories, so there the path counts.
        """
        locator = store_locator(self.settings.store_url)
        moves = not self.settings.database.url
        return locator.replace(f"://{self._home}/", f"://{DATA_DIR}/", 1) if moves else locator

    def pipeline(self, index: str | None = None) -> Pipeline:
        """The pipeline that the settings describe.

        Raises:
            InvalidInput: A plugin is unknown, or the model cannot read chunks of this size.
        """
        return Pipeline(
            recipe=make_recipe(self.settings),
            embedder=self.settings.embedder,
            store=self.store_locator(),
            index=index or self.settings.index,
        )

    async def run_worker(self, stop: asyncio.Event) -> None:
        """Work until `stop`; on an embedded ledger, once the seat of the data directory is free."""
        if not self.database.embedded:
            await self._work(f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}", stop)
            return
        async with seat(self.settings.data_dir / "worker.lock", stop) as taken:
            if taken:
                await self.database.write(partial(claims.take_over, owner_prefix=EMBEDDED_OWNER))
                dead = partial(submission.end_dead_listings, is_dead=self._is_dead)
                await self.database.write(dead)
                await self._work(f"{EMBEDDED_OWNER}{os.getpid()}:{uuid.uuid4().hex[:8]}", stop)

    @property
    def embedded(self) -> int:
        """Chunks that the worker of this process has embedded so far."""
        return self._worker.embedded if self._worker else 0

    async def optimize(self, locator: str, index: str) -> None:
        """Look after an index, where its store knows how."""
        store = await self.store(locator)
        if isinstance(store, Upkeep):
            await store.optimize(index)

    @property
    def listings(self) -> Path:
        """Where listing processes of this machine show that they live."""
        return self.settings.data_dir / "listings"

    @property
    def zombie_seconds(self) -> float:
        """The longest a worker that lost its lease may still write."""
        worker = self.settings.worker
        return worker.lease_seconds + worker.store_timeout

    @property
    def _home(self) -> str:
        return os.path.realpath(self.settings.data_dir)

    async def _work(self, owner: str, stop: asyncio.Event) -> None:
        worker = self.settings.worker
        work = LedgerWork(
            self.database,
            self.blobs,
            owner=owner,
            lease_seconds=worker.lease_seconds,
            store_seconds=worker.store_timeout,
        )
        options = WorkerOptions(
            byte_budget=worker.byte_budget,
            batches=worker.batches,
            poll_seconds=worker.poll_seconds,
            shutdown_grace=worker.shutdown_grace,
        )
        duties = asyncio.create_task(self._do_duties())
        try:
            self._worker = Worker(work, self, capabilities(), options)
            await self._worker.run(stop)
        finally:
            duties.cancel()
            await asyncio.gather(duties, return_exceptions=True)

    def _is_dead(self, lister: str) -> bool:
        return is_dead(self.listings, lister)

    async def _do_duties(self) -> None:
        duties = standard_duties(
            self.database,
            self.blobs,
            self.optimize,
            is_dead=self._is_dead if self.database.embedded else None,
            lease_seconds=self.settings.worker.lease_seconds,
            orphan_seconds=self.settings.retention.orphans_hours * 3600,
        )
        while True:
            try:
                await run_due(self.database, duties)
            except VectorFlowError as error:
                log.warning("duty_failed", extra={"error": error.code})
            await asyncio.sleep(DUTY_SECONDS)


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


def check_offline(settings: Settings) -> None:
    """Refuse settings that would make this process call another machine.

    Raises:
        InvalidSetting: Names the host.
    """
    for url in (settings.store_url, settings.database_url):
        place = urlsplit(url)
        if place.scheme in LOCAL_SCHEMES:
            continue
        for host in filter(None, [place.hostname, *parse_qs(place.query).get("host", [])]):
            if host not in LOOPBACK and not host.startswith("/"):
                message = f"{host!r} is another machine, and VECTORFLOW_OFFLINE is set"
                raise InvalidSetting(message, fix="name a place on this machine, or unset it")


def make_embedder(name: str) -> Embedder:
    """Make an embedder from `plugin:model`, without loading or connecting."""
    plugin, _, model = name.partition(":")
    made: object = plugins.load("embedders", plugin)(model)
    if not isinstance(made, Embedder):
        message = f"embedder {plugin!r} is not an Embedder"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made


def make_recipe(settings: Settings) -> Recipe:
    """Put together everything that shapes records, with the revisions installed here.

    Raises:
        InvalidInput: A plugin is unknown, or the model cannot read chunks of this size.
    """
    embedder = make_embedder(settings.embedder)
    limit = embedder.limits.max_text_tokens
    size = settings.chunking.size or min(DEFAULT_CHUNK_TOKENS, limit)
    if size > limit:
        message = f"{settings.embedder} reads {limit} tokens of a text, chunks of {size} were asked"
        raise InvalidInput(message, fix=f"ask for a chunk size of {limit} or less")
    overlap = size // 8 if settings.chunking.overlap is None else settings.chunking.overlap
    if overlap >= size:
        message = f"an overlap of {overlap} tokens does not fit into chunks of {size}"
        raise InvalidInput(message, fix=f"ask for an overlap below {size}")
    chunker = settings.chunking.chunker
    return Recipe(
        chunking=Chunking(chunker=chunker, size=size, overlap=overlap),
        chunker_revision=revision("chunkers", chunker),
        tokenizer=embedder.tokenizer,
        tokenizer_revision=revision("tokenizers", embedder.tokenizer),
        fingerprint=embedder.fingerprint,
        extractors={name: revision("extractors", name) for name in plugins.names("extractors")},
    )


def make_cutters(recipe: Recipe) -> Cutters:
    """Make the extractors and the chunker of a recipe."""
    tokenizer: Tokenizer = plugins.load("tokenizers", recipe.tokenizer)()
    chunking = recipe.chunking
    chunker: Chunker = plugins.load("chunkers", chunking.chunker)(tokenizer, chunking)

    def extractor(name: str) -> Extractor:
        made: Extractor = plugins.load("extractors", name)()
        return made

    return Cutters(extractor=extractor, chunker=chunker)


def detect(name: str) -> str:
    """Name the extractor for a file name, in any letter case; plain text where none fits."""
    suffix = PurePosixPath(name).suffix.lower()
    for candidate in plugins.names("extractors"):
        if suffix and suffix in getattr(plugins.load("extractors", candidate), "suffixes", ()):
            return candidate
    return "text"


def revision(kind: str, name: str) -> int:
    """Revision of an installed plugin."""
    found: object = getattr(plugins.load(kind, name), "revision", None)
    if not isinstance(found, int):
        message = f"{kind} {name!r} has no revision"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return found


def capabilities() -> Mapping[str, int]:
    """Revisions of all plugins whose libraries are installed: `kind/name` -> revision."""
    found: dict[str, int] = {}
    for kind in ("extractors", "chunkers", "tokenizers"):
        for name in plugins.names(kind):
            try:
                found[f"{kind}/{name}"] = revision(kind, name)
            except MissingExtra:
                log.info("plugin_not_installed", extra={"kind": kind, "plugin": name})
    return found


def store_locator(url: str) -> str:
    """Canonical locator of a store, without credentials."""
    found: type[VectorStore] = plugins.load("vector_stores", url.partition("://")[0])
    return found.locator(url)


def _make_store(url: str, *, timeout: float) -> VectorStore:
    made: object = plugins.load("vector_stores", url.partition("://")[0])(url, timeout=timeout)
    if not isinstance(made, VectorStore):
        message = f"{type(made).__name__} is not a VectorStore"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made
