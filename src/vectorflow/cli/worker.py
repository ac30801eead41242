"""`vectorflow worker`: what extracts, embeds and stores, alone."""

import asyncio
import logging
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options

if TYPE_CHECKING:
    from vectorflow.settings import Settings

log = logging.getLogger(__name__)

NICENESS = 10
"""A worker beside an API leaves the processor to it."""


server = options.setting(
    "--server",
    path="server.url",
    metavar="URL",
    help="Work for the API there, without a ledger or folder of its own.",
)

metrics_port = options.setting(
    "--metrics-port",
    path="metrics.port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Tell metrics at /metrics on this port; 0 takes a free one.",
)


@click.command(short_help="Start a worker alone.")
@click.option(
    "--until-stdin-closes",
    is_flag=True,
    help="Stop when whoever started it ends; run at low priority.",
)
@server
@metrics_port
@options.store
@options.database
@options.everywhere
def worker(until_stdin_closes: bool) -> None:
    """Start a worker alone: it works on what the ledger holds.

    With --server, or API_REQUEST_URL and no ledger set, it reaches the ledger, the documents and
    what only the API's machine has through the API. Its key is in VECTORFLOW_API_KEY.

    SIGTERM and Ctrl-C end what is under way or hand it back, within worker.shutdown_grace seconds.
    With a ledger in SQLite one worker of a data directory works, and another takes over when it
    ends; with any other all of them work.
    """
    settings = options.settings(serving=True)
    if until_stdin_closes:
        with suppress(OSError):
            os.nice(NICENESS)
    elif works_remotely(settings):
        show_server(settings)
        asyncio.run(_work_remotely(settings))
        return
    else:
        from vectorflow.cli.place import show_place

        show_place(settings)
    asyncio.run(_work(settings, until_stdin_closes=until_stdin_closes))


def works_remotely(settings: "Settings") -> bool:
    """Whether it is an API that the settings name to work for: a ledger that is named wins.

    Of the two a flag wins. The worker of `up` never asks: it is that API's own.
    """
    if settings.server.url is None:
        return False
    given = settings.origins
    return settings.database.url is None or (
        given.get("server.url") == "flag" and given.get("database.url") != "flag"
    )


def show_server(settings: "Settings") -> None:
    """Say on stderr whose work this is."""
    from rich.text import Text

    from vectorflow.cli import output
    from vectorflow.wiring.remote import checked_url, server_key

    with options.refusing():
        server_key(settings)
        line = f"over HTTP, {output.plain(checked_url(settings))}"
    output.stderr().print(Text(line, "dim"), soft_wrap=True)


async def _work_remotely(settings: "Settings") -> None:
    from vectorflow.cli.metrics import telling_metrics
    from vectorflow.cli.server import on_signals
    from vectorflow.wiring.metrics import make_metrics
    from vectorflow.wiring.remote import RemoteParts

    stop = asyncio.Event()
    on_signals(stop)
    metrics = make_metrics(told=settings.metrics.port is not None)
    async with RemoteParts(settings, metrics) as parts, telling_metrics(settings, metrics):
        log.info("worker_started", extra={"pid": os.getpid(), "server": parts.url})
        await parts.run_worker(stop)
    log.info("worker_stopped", extra={"pid": os.getpid()})


async def _work(settings: "Settings", *, until_stdin_closes: bool) -> None:
    from vectorflow.cli.metrics import telling_metrics
    from vectorflow.cli.server import on_signals
    from vectorflow.wiring import Parts
    from vectorflow.wiring.metrics import make_metrics

    stop = asyncio.Event()
    on_signals(stop)
    if until_stdin_closes:
        _stop_when_stdin_closes(stop)
    metrics = make_metrics(told=settings.metrics.port is not None)
    async with Parts(settings, metrics) as parts:
        await parts.check()
        if parts.database.embedded and (pid := seat_holder(settings)):
            log.info("waiting_for_another_worker", extra={"pid": pid})
        log.info("worker_started", extra={"pid": os.getpid()})
        async with telling_metrics(settings, metrics, parts.database):
            await parts.run_worker(stop)
    log.info("worker_stopped", extra={"pid": os.getpid()})


def seat_holder(settings: "Settings") -> str | None:
    """Say which process works on the data directory; None if no one does."""
    from vectorflow.worker.seat import seat_taken

    return seat_taken(settings.data_dir / "worker.lock")


def _stop_when_stdin_closes(stop: asyncio.Event) -> None:
    """Wait in a thread: a pipe's end is the one sign that reaches us however our parent dies."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        while os.read(0, 4096):
            pass
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, name="stdin", daemon=True).start()
