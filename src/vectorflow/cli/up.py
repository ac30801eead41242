"""`vectorflow up`: all of it on this machine, with one command."""

import asyncio
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options
from vectorflow.cli.api import host, port

if TYPE_CHECKING:
    import socket

    from vectorflow.settings import Settings

CLOSING_SECONDS = 5.0
"""A worker's end takes that much longer than its grace, at most."""


@click.command(short_help="Start the API and a worker on this machine.")
@host
@port
@options.index
@options.embedder
@options.store
@options.database
@options.everywhere
def up() -> None:
    """Start the API and a worker on this machine; print address and key.

    The worker runs in a process of its own at low priority, is started again when it dies, and ends
    with this one. Ctrl-C stops both in good order; what is under way goes on at the next start.
    """
    settings = options.settings(serving=True)
    from vectorflow.cli.place import show_place
    from vectorflow.cli.server import listen
    from vectorflow.wiring import make_recipe

    with options.refusing():
        show_place(settings, make_recipe(settings))
    with listen(settings.api.host, settings.api.port) as listener:
        asyncio.run(_up(settings, listener))


async def _up(settings: "Settings", listener: "socket.socket") -> None:
    from vectorflow.cli.server import on_signals, serve
    from vectorflow.cli.supervisor import supervise
    from vectorflow.wiring import Parts
    from vectorflow.wiring.metrics import make_metrics

    stop = asyncio.Event()
    on_signals(stop)
    grace = settings.worker.shutdown_grace + CLOSING_SECONDS
    async with Parts(settings, make_metrics(told=True)) as parts:
        await parts.check()
        worker = asyncio.create_task(supervise(options.as_environment(), stop, grace=grace))
        worker.add_done_callback(lambda _: stop.set())  # an API alone would let all jobs wait
        try:
            await serve(parts, listener, stop)
        finally:
            stop.set()
            await worker
