"""Settings -> the queue of a process: what it sends, what its worker hears, whether it answers."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

from vectorflow import plugins
from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import InvalidInput, Unavailable, UnknownPlugin, VectorFlowError
from vectorflow.ledger import held
from vectorflow.ledger.database import Database
from vectorflow.ports.metrics import Metrics
from vectorflow.ports.queue import ALL, Queue
from vectorflow.service.wakeups import WakeUps
from vectorflow.settings import Settings
from vectorflow.wiring.recipes import LOOPBACK
from vectorflow.worker.listener import Ears, Listener, ListenerOptions
from vectorflow.worker.loop import Worker

log = logging.getLogger(__name__)

WITHOUT_TLS = ("amqp", "redis")


def make_queue(settings: Settings) -> Queue:
    """Make the queue of the settings, without connecting.

    Raises:
        InvalidInput: There is none of this kind, or its address is wrong.
    """
    made: object = plugins.load("queues", _scheme(settings))(
        settings.queue_url, prefix=settings.queue.prefix
    )
    if not isinstance(made, Queue):
        message = f"{type(made).__name__} is not a Queue"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made


def make_wakeups(settings: Settings, metrics: Metrics) -> WakeUps | None:
    """Make what sends wake-ups, without connecting; None where no broker is set.

    Raises:
        UnknownPlugin: There is no queue of this kind.
    """
    if settings.queue.url is None:
        return None
    known = plugins.names("queues")
    if _scheme(settings) not in known:
        unknown = UnknownPlugin("queues", _scheme(settings), known)
        unknown.fix = "begin VECTORFLOW_QUEUE__URL with one of these, and ://"
        raise unknown
    return WakeUps(partial(make_queue, settings), metrics)


async def check_queue(settings: Settings) -> None:
    """Refuse a queue that a person has to look after; one that is merely away may come back.

    Raises:
        InvalidInput, KeyRefused: It would never work.
    """
    if settings.queue.url is None:
        return
    try:
        await ask_queue(settings)
    except Unavailable as error:
        extra = {"reason": error.message, "fix": error.fix}
        log.warning("queue_unreachable_workers_poll", extra=extra)
    place = urlsplit(settings.queue_url)
    if place.scheme in WITHOUT_TLS and place.hostname not in LOOPBACK:
        log.warning("queue_without_tls", extra={"fix": f"use {place.scheme}s: for the queue"})


async def ask_queue(settings: Settings) -> None:
    """Connect to the queue and make what it needs.

    Raises:
        InvalidInput, KeyRefused, Unavailable: It does not do.
    """
    queue = make_queue(settings)
    try:
        await asyncio.to_thread(queue.check, ALL)
    finally:
        await asyncio.to_thread(queue.close)


@asynccontextmanager
async def listening(
    settings: Settings, worker: Worker, database: Database, metrics: Metrics
) -> AsyncGenerator[None]:
    """Wake a worker as its queue says, and let it poll less while the queue can be relied on."""
    if settings.queue.url is None or not make_queue(settings).wakes:
        yield
        return
    loop = asyncio.get_running_loop()

    def tell(what: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(what, *arguments)

    def on_health(healthy: bool) -> None:
        tell(worker.poll_every, settings.queue.poll_seconds if healthy else None)

    ears = Ears(
        on_wake=partial(tell, worker.wake),
        on_health=on_health,
        is_backlog=partial(_is_backlog, database),
    )
    options = ListenerOptions(silent_seconds=settings.queue.sweep_seconds * 2)
    listener = Listener(partial(make_queue, settings), ALL, ears, options, metrics)
    listener.start()
    try:
        yield
    finally:
        await asyncio.to_thread(listener.stop)


def _scheme(settings: Settings) -> str:
    return settings.queue_url.partition("://")[0]


def _is_backlog(database: Database) -> bool:
    try:
        return database.read_now(partial(held.is_work, kinds=list(BatchKind)))
    except VectorFlowError:  # whoever claims will meet it too
        return False
