"""Small servers on this machine, for what calls out."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MARK = "in-no-message"
"""Stands for keys, signed queries and what answers hold: no error may show it."""


@dataclass(slots=True, kw_only=True)
class Server:
    """A server that remembers what it was asked."""

    port: int
    requests: list[web.Request] = field(default_factory=list[web.Request])
    bodies: list[bytes] = field(default_factory=list[bytes])


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Server]:
    server = Server(port=port)

    async def remember(request: web.Request) -> web.StreamResponse:
        server.requests.append(request)
        server.bodies.append(await request.content.read())
        return await handler(request)

    runner = web.ServerRunner(web.Server(remember), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def speaking(*parts: bytes, pause: float = 0.0) -> AsyncGenerator[int]:
    """Give the port of a server that says the parts and hangs up, whatever it is asked."""

    ended = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), pause)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        ended.set()
        server.close()
        await asyncio.sleep(0.01)


async def hello(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


def to(location: str, status: int = 302) -> Handler:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return redirect


def answering(status: int, **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=named, text=MARK)

    return answer
