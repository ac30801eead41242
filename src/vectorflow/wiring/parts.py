"""The parts of one process, and the worker that runs on them."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.domain.access import DEFAULT_TENANT
from vectorflow.domain.credentials import account_of
from vectorflow.domain.outages import Patience
from vectorflow.domain.pipelines import WEBHOOK_SCHEME, Pipeline
from vectorflow.errors import InvalidSetting, OutOfSpace, VectorFlowError
from vectorflow.ledger import losses, ready, schema, submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.dialects import made_folder
from vectorflow.ledger.work import LedgerWork
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.hooks import Hooks
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.ports.queue import WakeUp
from vectorflow.ports.secret_store import SecretStore
from vectorflow.ports.vector_cache import NoCache, VectorCache
from vectorflow.ports.vector_store import Upkeep, VectorStore
from vectorflow.ports.work import Lease
from vectorflow.service.extract import Cutters
from vectorflow.service.listings import is_dead
from vectorflow.service.reconcile import Places, Report, reconcile
from vectorflow.service.recover import (
    Duty,
    LeaseTimes,
    run_due,
    standard_duties,
    sweep_duty,
)
from vectorflow.service.wakeups import WakeUps
from vectorflow.settings import Settings
from vectorflow.wiring.blobs import make_blobs
from vectorflow.wiring.caches import make_cache, tended
from vectorflow.wiring.credentials import (
    kept_store_key,
    make_secrets,
    open_credentials,
)
from vectorflow.wiring.opened import Opened
from vectorflow.wiring.queues import check_queue, listening, make_wakeups
from vectorflow.wiring.recipes import (
    LOOPBACK,
    capabilities,
    leased_cutters,
    make_embedder,
    make_hooks,
    make_recipe,
    make_store,
    store_locator,
)
from vectorflow.wiring.retention import how_long_kept
from vectorflow.wiring.sandboxes import make_sandbox
from vectorflow.worker.loop import Worker, WorkerOptions
from vectorflow.worker.seat import seat
from vectorflow.worker.targets import Workshop

log = logging.getLogger(__name__)

EMBEDDED_OWNER = "embedded:"
"""How workers that hold the seat of a data directory sign their leases."""

DUTY_SECONDS = 1.0

DEFAULT_HOSTS = {"sqs": "sqs.amazonaws.com"}
"""Where URLs without a host lead, by their scheme."""

LOCAL_SCHEMES = ("lancedb", "memory", "polling", "sqlite")
"""What follows the slashes in their URLs is a path or a name, not a host."""

DATA_DIR = "{data_dir}"
"""Stands in locators for the data directory, so that a store inside it may be moved with it."""


class Parts(Workshop):
    """The parts of one process, each opened once and closed in order."""

    def __init__(
        self, settings: Settings, metrics: Metrics = NO_METRICS, *, tenant: str = DEFAULT_TENANT
    ) -> None:
        """Choose the parts; nothing is opened yet. A worker works for all tenants, whoever asks."""
        self.settings = settings
        self.metrics = metrics
        self.tenant = tenant
        self.database: Database
        self.blobs: FileBlobStore
        self.secrets: SecretStore = make_secrets(settings)
        self.sandbox = make_sandbox(settings)
        self._kept = make_cache(settings, metrics)
        self._stack = AsyncExitStack()
        self._loop: asyncio.AbstractEventLoop
        self._wakeups: WakeUps | None = None
        self._worker: Worker | None = None
        self._stores: Opened[VectorStore] = Opened()
        self._embedders: Opened[Embedder] = Opened()
        self._hooks: Opened[Hooks] = Opened()

    async def __aenter__(self) -> Self:
        """Open the ledger; an embedded one is made or upgraded on the way.

        Raises:
            InvalidSetting: The ledger or the data directory cannot be used.
            Unavailable, OutOfSpace: It does not answer, or has no room.
        """
        if self.settings.offline:
            check_offline(self.settings)
        made_folder(self.settings.data_dir)
        self._loop = asyncio.get_running_loop()
        self._wakeups = make_wakeups(self.settings, self.metrics)
        if self._wakeups:  # ends last, as it sends what others make ready
            self._stack.push_async_callback(asyncio.to_thread, self._wakeups.close)
        on_ready = self._made_ready if self._wakeups else ready.nobody_waits
        self.database = Database(self.settings.database_url, on_ready)
        self._stack.callback(self.database.close)
        self._stack.callback(self.sandbox.close)
        self._stack.push_async_callback(self._kept.close)
        for opened in (self._stores, self._embedders, self._hooks):
            self._stack.push_async_exit(opened)
        prepare = schema.upgrade if self.database.embedded else schema.check
        try:
            await asyncio.to_thread(prepare, self.database)
            self.blobs = await asyncio.to_thread(make_blobs, self.settings, self.database)
        except VectorFlowError:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def store(self, locator: str, key: str | None = None) -> VectorStore:
        """Open a store by its locator; the configured one with its own credentials."""

        def make() -> VectorStore:
            configured = self.store_locator() == locator
            place = locator.replace(f"://{DATA_DIR}/", f"://{self._home}/", 1)
            url = self.settings.store_url if configured else place
            kept = kept_store_key(self.settings, locator)
            return make_store(self.settings, url, key or kept, named=not configured)

        return await self._stores.get((locator, account_of(key)), make)

    async def embedder(self, name: str, key: str | None = None) -> Embedder:
        """Open an embedder, `plugin:model`."""
        make = partial(make_embedder, self.settings, name, key)
        return await self._embedders.get((name, account_of(key)), make)

    async def hooks(self) -> Hooks:
        """Open what calls addresses of users."""
        return await self._hooks.get(("hooks", ""), partial(make_hooks, self.settings))

    async def cutters(self, lease: Lease) -> Cutters:
        """Make the extractors, the chunker and the validation of a lease's pipeline."""
        return await leased_cutters(self.settings, lease, self.sandbox, self.hooks)

    @property
    def cache(self) -> VectorCache:
        """Vectors made before on this machine."""
        return self._kept if self.settings.cache.max_bytes else NoCache()

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
        """Work until `stop`; on an embedded ledger, once the seat of the data directory is free.

        Raises:
            InvalidSetting: The data directory is not the ledger's.
        """
        await self.check_blobs()
        self._worker = None
        if not self.database.embedded:
            await self._work(f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}", stop)
            return
        async with seat(self.settings.data_dir / "worker.lock", stop) as taken:
            if taken:
                await self.database.write(
                    partial(
                        losses.take_over,
                        owner_prefix=EMBEDDED_OWNER,
                        zombie_seconds=self.zombie_seconds,
                    )
                )
                dead = partial(submission.end_dead_listings, is_dead=self._is_dead)
                await self.database.write(dead)
                await self._work(f"{EMBEDDED_OWNER}{os.getpid()}:{uuid.uuid4().hex[:8]}", stop)

    async def check(self) -> None:
        """Refuse to serve on a ledger that takes no writes, or with a queue that would never work.

        Raises:
            Unavailable, OutOfSpace: Nothing could be kept.
            InvalidInput, KeyRefused: See `check_blobs` and `wiring.queues`.
        """
        await self.check_blobs()
        await self.database.write(schema.demand_ready)
        await check_queue(self.settings)

    async def check_blobs(self) -> None:
        """Refuse a data directory that holds the blobs of another ledger, or not those of ours.

        Raises:
            InvalidSetting: Says what to do.
        """
        await asyncio.to_thread(self.blobs.check)

    def work(self, owner: str) -> LedgerWork:
        """Give the ledger as the worker of this name sees it."""
        worker = self.settings.worker
        return LedgerWork(
            self.database,
            self.blobs,
            owner=owner,
            lease_seconds=worker.lease_seconds,
            store_seconds=worker.store_timeout,
            open_credentials=partial(open_credentials, self.settings, self.secrets),
            patience=Patience(
                longest_pause=self.settings.retries.longest_pause,
                outage=self.settings.retries.outage_hours * 3600,
            ),
        )

    @asynccontextmanager
    async def duties(self, *, patience: float = 0.0) -> AsyncGenerator[None]:
        """See to the recurring duties meanwhile; any number of processes may do so at once.

        Heavy ones are left to other processes for so many seconds after they are due.
        """
        duties = asyncio.create_task(self._do_duties(patience))
        try:
            yield
        finally:
            duties.cancel()
            await asyncio.gather(duties, return_exceptions=True)

    @property
    def embedded(self) -> int:
        """Chunks that the worker of this process has embedded so far."""
        return self._worker.embedded if self._worker else 0

    @property
    def out_of_space(self) -> OutOfSpace | None:
        """Why the worker of this process does not get on, if it is a full disk."""
        return self._worker.out_of_space if self._worker else None

    async def optimize(self, locator: str, index: str) -> None:
        """Look after an index, where its store knows how, within the memory of the worker."""
        if locator.startswith(WEBHOOK_SCHEME):
            return
        store = await self.store(locator)
        if isinstance(store, Upkeep):
            async with self._worker.beside() if self._worker else nullcontext():
                await store.optimize(index)

    async def reconcile(self, index: str | None = None) -> Report:
        """Compare the ledger with the blob store and the vector stores; see `service.reconcile`."""
        places = Places(
            database=self.database,
            blobs=self.blobs,
            open_store=self.store,
            vectors_seconds=how_long_kept(self.settings).vectors_seconds,
        )
        return await reconcile(places, index=index)

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
        async with self.duties(), tended(self._kept, self.settings):
            options = worker_options(self.settings)
            able = capabilities(self.settings.chunking.chunker)
            worker = Worker(self.work(owner), self, able, options, self.metrics)
            self._worker = worker
            async with listening(self.settings, worker, self.database, self.metrics):
                await worker.run(stop)

    def _made_ready(self, made: frozenset[WakeUp]) -> None:
        """Wake other processes, and our own worker without a way round; called by any thread."""
        if self._wakeups:
            self._wakeups.wake(made)
        if self._worker:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._worker.wake)

    def _is_dead(self, lister: str) -> bool:
        return is_dead(self.listings, lister)

    async def _do_duties(self, patience: float) -> None:
        duties = standard_duties(
            self.database,
            self.blobs,
            self.optimize,
            is_dead=self._is_dead if self.database.embedded else None,
            leases=LeaseTimes(
                seconds=self.settings.worker.lease_seconds, zombie_seconds=self.zombie_seconds
            ),
            kept=how_long_kept(self.settings),
        )
        if self._wakeups:
            seconds = self.settings.queue.sweep_seconds
            duties.append(sweep_duty(self.database, self._wakeups.wake, seconds=seconds))
        await asyncio.gather(*(self._repeat(duty, patience) for duty in duties))

    async def _repeat(self, duty: Duty, patience: float) -> None:
        """Run a duty whenever it is due; however long one takes, the others go on."""
        while True:
            try:
                await run_due(self.database, duty, patience=patience)
            except VectorFlowError as error:
                log.warning("duty_failed", extra={"duty": duty.name, "error": error.code})
            except Exception:  # a fault of ours in one run must not end the duty
                log.exception("duty_failed", extra={"duty": duty.name})
            await asyncio.sleep(DUTY_SECONDS)


def worker_options(settings: Settings) -> WorkerOptions:
    """Read how much a worker takes on."""
    worker = settings.worker
    return WorkerOptions(
        byte_budget=worker.byte_budget,
        batches=worker.batches,
        poll_seconds=worker.poll_seconds,
        shutdown_grace=worker.shutdown_grace,
    )


def check_offline(settings: Settings) -> None:
    """Refuse settings that would make this process call another machine.

    Raises:
        InvalidSetting: Names the host.
    """
    for url in (settings.store_url, settings.database_url, settings.queue_url):
        place = urlsplit(url)
        if place.scheme in LOCAL_SCHEMES:
            continue
        named = place.hostname or DEFAULT_HOSTS.get(place.scheme)
        for host in filter(None, [named, *parse_qs(place.query).get("host", [])]):
            if host not in LOOPBACK and not host.startswith("/"):
                message = f"{host!r} is another machine, and VECTORFLOW_OFFLINE is set"
                raise InvalidSetting(message, fix="name a place on this machine, or unset it")
