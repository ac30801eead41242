"""Probes, which need no key."""

import asyncio

from fastapi import APIRouter

from vectorflow.api.backend import Backend
from vectorflow.api.schemas import Health
from vectorflow.errors import Unavailable, VectorFlowError
from vectorflow.ledger import reads

READY_SECONDS = 5.0


def health_routes(backend: Backend) -> APIRouter:
    """Make the routes of the probes."""
    router = APIRouter()

    @router.get("/livez")
    async def alive() -> Health:
        """Answer while the event loop runs."""
        return Health()

    @router.get("/readyz")
    async def ready() -> Health:
        """Answer 200 if requests can be served: the ledger answers."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await backend.database.read(reads.now)
        except (TimeoutError, VectorFlowError) as error:
            message = "the ledger does not answer"
            raise Unavailable(message, fix="check the database of the server") from error
        return Health()

    return router
