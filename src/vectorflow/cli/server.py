"""The HTTP server of `up` and `api`: uvicorn, with a port and signals of our own."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from vectorflow.cli import options, output
from vectorflow.cli.interrupts import leave_at_once
from vectorflow.errors import InvalidInput
from vectorflow.ledger import keys

if TYPE_CHECKING:
    from vectorflow.settings import Settings
    from vectorflow.wiring import Parts

log = logging.getLogger(__name__)

CLOSING_SECONDS = 15
"""For requests under way when the server stops; more than an upload waits for its extraction."""

KEY_NAME = "first"


class Server(uvicorn.Server):
    """Leaves signals to us, and says when it answers."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take no signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_started()


async def serve(parts: "Parts", listener: socket.socket, stop: asyncio.Event) -> None:
    """Answer requests until `stop`; readiness ends first.

    Workers over HTTP reach no ledger, so the recurring duties are seen to here too.
    """
    from vectorflow.wiring.api import DUTY_PATIENCE

    _warn_of_unused_key(parts.settings)
    async with parts.duties(patience=DUTY_PATIENCE):
        await _serve(parts, listener, stop)


def _warn_of_unused_key(settings: "Settings") -> None:
    """Say where a key is set that only a worker of some server uses: an underscore is missing."""
    if settings.server.key and settings.server.url is None:
        given = settings.origins.get("server.key")
        fix = "the key of this API is VECTORFLOW_API__KEY, with two underscores"
        log.warning("server_key_unused", extra={"setting": given, "fix": fix})


async def _serve(parts: "Parts", listener: socket.socket, stop: asyncio.Event) -> None:
    from vectorflow.api.routes.health import leave
    from vectorflow.wiring.api import build_api

    app = build_api(parts)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    key = await make_key(parts)
    server = Server(
        config, partial(announce, listener, key, has_own_key=bool(parts.settings.api.key))
    )
    serving = asyncio.create_task(server.serve([listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    stop.set()
    await asyncio.wait({serving}, timeout=leave(app))
    server.should_exit = True
    await serving


def listen(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Take the port before anything else is started; `option` is the one that names it.

    Raises:
        InvalidInput: Somebody else has it, or it is not ours to take.
    """
    place = f"port {port} of {host}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        message = f"{place} is taken" if taken else f"cannot listen on {place}: {error.strerror}"
        fix = f"choose another with {option}, or stop what listens there"
        raise InvalidInput(message, fix=fix) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Write the address as a client writes it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def make_key(parts: "Parts") -> str | None:
    """Make the first key of a ledger; None where there are keys already."""
    if parts.settings.api.key:
        return None
    make = partial(keys.issue_first_key, tenant=parts.tenant, name=KEY_NAME)
    return await parts.database.write(make)


def announce(listener: socket.socket, key: str | None, *, has_own_key: bool) -> None:
    """Print where the server is and with what key."""
    url = url_of(listener)
    if options.as_json():
        output.print_json({"url": url, "key": key})
        return
    about = "of INTERNAL_API_KEY" if has_own_key else "made earlier; INTERNAL_API_KEY sets another"
    output.show(output.labelled("url", url))
    output.show(output.labelled("key", f"{key}   shown this once; keep it" if key else about))
    output.echo(f"try      curl -H 'VectorFlowKey: {key or 'KEY'}' {url}/jobs/1/status")


def on_signals(stop: asyncio.Event) -> None:
    """Stop in good order at the first signal, at once at the second."""

    def handle() -> None:
        if stop.is_set():
            leave_at_once()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, handle)
