"""Probes, which need no key."""

import asyncio
import time
from math import inf

from fastapi import APIRouter, FastAPI, Request

from vectorflow.api.backend import Backend
from vectorflow.api.schemas import Health
from vectorflow.errors import Unavailable, VectorFlowError
from vectorflow.ledger import schema

READY_SECONDS = 5.0

TELLING_SECONDS = 5.0
"""How long requests are taken while those who ask `/readyz` learn that there should be no more."""

ASKED_WITHIN = 60.0
"""Who has not asked `/readyz` for so long does not ask."""


def health_routes(backend: Backend) -> APIRouter:
    """Make the routes of the probes."""
    router = APIRouter()
    newest = schema.newest_revision()

    @router.get("/livez")
    @router.head("/livez", include_in_schema=False)
    async def alive() -> Health:
        """Answer while the event loop runs."""
        return Health()

    @router.get("/readyz")
    @router.head("/readyz", include_in_schema=False)
    async def ready(request: Request) -> Health:
        """Answer 200 if requests can be served: the ledger answers and fits, and no end is near."""
        request.app.state.asked_at = time.monotonic()
        if getattr(request.app.state, "leaving", False):
            raise Unavailable("the server is about to stop", fix="ask another one")
        if await _revision(backend) != newest:
            message = "the ledger has not the schema of this release"
            raise Unavailable(message, fix="run `vectorflow db upgrade` with this release")
        return Health()

    return router


def leave(app: FastAPI) -> float:
    """Be ready no more, and give the seconds in which requests should still be taken.

    Where nobody asks, there is nobody to wait for.
    """
    asked_at: float = getattr(app.state, "asked_at", -inf)
    app.state.leaving = True
    return TELLING_SECONDS if time.monotonic() - asked_at < ASKED_WITHIN else 0.0


async def _revision(backend: Backend) -> str | None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            return await backend.database.read(schema.current_revision)
    except (TimeoutError, VectorFlowError) as error:
        message = "the ledger does not answer"
        raise Unavailable(message, fix="check the database of the server") from error
