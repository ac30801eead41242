"""The HTTP API for servers of others: gunicorn and uvicorn serve `vectorflow.asgi:app`.

Settings come from the environment and `vectorflow.toml`; where to listen is up to the server. Each
process opens its parts as it starts, and closes them after its last request.
"""

import asyncio
import logging
import signal
import threading
from contextlib import AsyncExitStack
from types import FrameType

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from vectorflow.api.routes.health import leave
from vectorflow.cli.logs import configure
from vectorflow.errors import InvalidSetting, VectorFlowError
from vectorflow.ledger import keys
from vectorflow.settings import load
from vectorflow.wiring import Parts
from vectorflow.wiring.api import DUTY_PATIENCE, build_api
from vectorflow.wiring.metrics import make_shared_metrics

log = logging.getLogger(__name__)


class Application:
    """Opens the API as its server starts, and refuses to start with a sentence."""

    def __init__(self) -> None:
        self._api: FastAPI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or live with the server from its start to its end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._api(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                self._api = await _opened(stack)
            except Exception as error:  # noqa: BLE001 - the server must learn of every one
                await send({"type": "lifespan.startup.failed", "message": _sentence(error)})
                return
            _end_readiness_first(self._api)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _opened(stack: AsyncExitStack) -> FastAPI:
    """Open the parts until the stack is closed.

    Raises:
        InvalidSetting: Something is set wrong, or no key would let anybody in.
    """
    settings = load()
    configure(settings.log.level, as_json=settings.log.json)
    parts = await stack.enter_async_context(Parts(settings, make_shared_metrics()))
    await parts.check()
    # None is made here, as by `vectorflow api`: each of several processes would show its own.
    if not settings.api.keys and not await parts.database.read(keys.has_keys):
        fix = "set INTERNAL_API_KEY, or issue one with `vectorflow keys create`"
        raise InvalidSetting("there is no key that could let anybody in", fix=fix)
    api = build_api(parts)
    await stack.enter_async_context(parts.duties(patience=DUTY_PATIENCE))
    return api


def _sentence(error: Exception) -> str:
    if isinstance(error, VectorFlowError):
        return str(error)
    if isinstance(error, OSError):
        return f"cannot start: {error.strerror}: {error.filename}"
    log.error("start_failed", exc_info=error)
    return f"unexpected {type(error).__name__}; this is a fault of VectorFlow"


def _end_readiness_first(api: FastAPI) -> None:
    """Let SIGTERM reach the server, which then takes no connection any more, once that is known."""
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop) or threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    told = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal told
        seconds = 0.0 if told else leave(api)
        told = True
        loop.call_soon_threadsafe(loop.call_later, seconds, stop, number, frame)

    signal.signal(signal.SIGTERM, handle)


app = Application()
