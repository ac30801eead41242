"""`vectorflow api`: the API alone."""

import asyncio
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options

if TYPE_CHECKING:
    import socket

    from vectorflow.settings import Settings

host = options.setting(
    "--host", path="api.host", metavar="HOST", help="Address to listen on.  [default: 127.0.0.1]"
)
port = options.setting(
    "--port",
    path="api.port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port to listen on; 0 takes a free one.  [default: 8000]",
)


@click.command(short_help="Start the API alone.")
@host
@port
@options.index
@options.embedder
@options.store
@options.database
@options.everywhere
def api() -> None:
    """Start the API alone; what it accepts is embedded by workers that share its ledger."""
    settings = options.settings(serving=True)
    from vectorflow.cli.place import show_place
    from vectorflow.cli.server import listen

    show_place(settings)
    with listen(settings.api.host, settings.api.port) as listener:
        asyncio.run(_serve(settings, listener))


async def _serve(settings: "Settings", listener: "socket.socket") -> None:
    from vectorflow.cli.server import on_signals, serve
    from vectorflow.wiring import Parts
    from vectorflow.wiring.metrics import make_metrics

    stop = asyncio.Event()
    on_signals(stop)
    async with Parts(settings, make_metrics(told=True)) as parts:
        await parts.check()
        await serve(parts, listener, stop)
