"""The parts of a worker process that reaches nothing but the API."""

import asyncio
import logging
import os
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Self
from urllib.parse import urlsplit

from vectorflow.adapters._work_client import WorkClient
from vectorflow.adapters.blob_stores.http import BlobCache, HttpBlobStore
from vectorflow.adapters.vector_stores.remote import ApiVectorStore
from vectorflow.adapters.work.http import HttpWork
from vectorflow.domain.credentials import account_of
from vectorflow.errors import InvalidSetting
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.hooks import Hooks
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.ports.vector_cache import NoCache, VectorCache
from vectorflow.ports.vector_store import VectorStore
from vectorflow.ports.work import Lease
from vectorflow.service.extract import Cutters
from vectorflow.settings import Settings
from vectorflow.wiring.caches import make_cache, tended
from vectorflow.wiring.desk import is_here
from vectorflow.wiring.hosts import host_name
from vectorflow.wiring.opened import Opened
from vectorflow.wiring.parts import worker_options
from vectorflow.wiring.recipes import (
    capabilities,
    leased_cutters,
    make_embedder,
    make_hooks,
    make_store,
)
from vectorflow.wiring.sandboxes import make_sandbox
from vectorflow.worker.loop import Worker
from vectorflow.worker.targets import Workshop

log = logging.getLogger(__name__)


class RemoteParts(Workshop):
    """A URL and a key are enough: what work needs beside comes with its leases."""

    def __init__(self, settings: Settings, metrics: Metrics = NO_METRICS) -> None:
        """Take the settings.

        Raises:
            InvalidSetting: There is no key, or the server may not be called.
        """
        self.settings = settings
        self.metrics = metrics
        self.url = checked_url(settings)
        client = WorkClient(self.url, server_key(settings), worker=worker_name())
        cache = BlobCache()
        self.sandbox = make_sandbox(settings)
        self._kept = make_cache(settings, metrics)
        self._client = client
        self._work = HttpWork(client, partial(HttpBlobStore, client, cache))
        self._stack = AsyncExitStack()
        self._stores: Opened[VectorStore] = Opened()
        self._embedders: Opened[Embedder] = Opened()
        self._hooks: Opened[Hooks] = Opened()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._client)
        self._stack.callback(self.sandbox.close)
        self._stack.push_async_callback(self._kept.close)
        for opened in (self._stores, self._embedders, self._hooks):
            self._stack.push_async_exit(opened)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def store(self, locator: str, key: str | None = None) -> VectorStore:
        """Open a store as the API said it is reached: by us, or through the API."""
        url = self._work.stores.get(locator)

        def make() -> VectorStore:
            if url is not None:
                return make_store(self.settings, url, key)
            timeout = self.settings.worker.store_timeout
            leases_of = partial(self._work.leases_of, locator, key)
            return ApiVectorStore(self._client, leases_of, timeout=timeout)

        return await self._stores.get((locator, account_of((key or "") + (url or ""))), make)

    async def embedder(self, name: str, key: str | None = None) -> Embedder:
        """Open an embedder; keys that came with a lease go where the API says, ours do not."""
        settings = self._for_provider(name.partition(":")[0], key)
        make = partial(make_embedder, settings, name, key)
        return await self._embedders.get((name, account_of(key)), make)

    async def hooks(self) -> Hooks:
        """Open what calls addresses of users, by the rules of this machine."""
        return await self._hooks.get(("hooks", ""), partial(make_hooks, self.settings))

    async def cutters(self, lease: Lease) -> Cutters:
        """Make the extractors, the chunker and the validation of a lease's pipeline."""
        return await leased_cutters(self.settings, lease, self.sandbox, self.hooks)

    @property
    def cache(self) -> VectorCache:
        """Vectors made before on this machine."""
        return self._kept if self.settings.cache.max_bytes else NoCache()

    async def run_worker(self, stop: asyncio.Event) -> None:
        """Work until `stop`.

        Raises:
            Unauthorized, Forbidden: The API does not let this worker in, or gives it no work.
        """
        able = capabilities(self.settings.chunking.chunker)
        options = worker_options(self.settings)
        async with tended(self._kept, self.settings):
            await Worker(self._work, self, able, options, self.metrics).run(stop)

    def _for_provider(self, plugin: str, key: str | None) -> Settings:
        own, lent = self.settings.openai, self._work.providers.get(plugin)
        has_own = own.key is not None or "openai.base_url" in self.settings.origins
        if lent is None or (key is None and has_own):
            return self.settings
        return replace(self.settings, openai=replace(own, base_url=lent, key=None))


def checked_url(settings: Settings) -> str:
    """Give the address of the API.

    Raises:
        InvalidSetting: None is set, or it is elsewhere and nothing may leave this machine.
    """
    url = settings.server.url
    if url is None:
        fix = "set API_REQUEST_URL, or give --server"
        raise InvalidSetting("there is no server to work for", fix=fix)
    host = urlsplit(url).hostname or ""
    if settings.offline and not is_here(host):
        message = f"{host!r} is another machine, and VECTORFLOW_OFFLINE is set"
        raise InvalidSetting(message, fix="name a place on this machine, or unset it")
    if url.startswith("http://") and not is_here(host):
        log.warning("server_without_tls", extra={"fix": "work that has credentials needs https"})
    return url


def server_key(settings: Settings) -> str:
    """Give the key for the API: its own setting, else the one that the API itself would take.

    Raises:
        InvalidSetting: There is none.
    """
    if settings.server.key:
        return settings.server.key.get_secret_value()
    if settings.api.keys:
        return settings.api.keys[0].get_secret_value()
    fix = "set VECTORFLOW_API_KEY to a key with the scope work: `vectorflow keys create`"
    raise InvalidSetting("there is no key for the server", fix=fix)


def worker_name() -> str:
    """Name this process for the ledger, as no other is named."""
    return f"{host_name()[:40] or 'worker'}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
