"""Probes, which need no key."""

import asyncio
import time
from math import inf

from fastapi import APIRouter, FastAPI, Request

from vectorflow.api.backend import Backend
from vectorflow.api.schemas import Health
from vectorflow.api.uploads import no_room
from vectorflow.errors import OutOfSpace, Transient, Unavailable, VectorFlowError
from vectorflow.ledger import schema

READY_SECONDS = 5.0

REMEMBERED_SECONDS = 1.0
"""Who asks in between is told what was found: nobody can have us write as often as they like."""

TELLING_SECONDS = 5.0
"""How long requests are taken while those who ask `/readyz` learn that there should be no more."""

ASKED_WITHIN = 60.0
"""Who has not asked `/readyz` for so long does not ask."""


def health_routes(backend: Backend) -> APIRouter:
    """Make the routes of the probes."""
    router = APIRouter()
    readiness = _Readiness(backend)

    @router.get("/livez")
    @router.head("/livez", include_in_schema=False)
    async def alive() -> Health:
        """Answer while the event loop runs."""
        return Health()

    @router.get("/readyz")
    @router.head("/readyz", include_in_schema=False)
    async def ready(request: Request) -> Health:
        """Answer 200 if new work could be kept now, and no end is near."""
        request.app.state.asked_at = time.monotonic()
        if getattr(request.app.state, "leaving", False):
            raise Unavailable("the server is about to stop", fix="ask another one")
        await readiness.demand()
        return Health()

    return router


def leave(app: FastAPI) -> float:
    """Be ready no more, and give the seconds in which requests should still be taken.

    Where nobody asks, there is nobody to wait for.
    """
    asked_at: float = getattr(app.state, "asked_at", -inf)
    app.state.leaving = True
    return TELLING_SECONDS if time.monotonic() - asked_at < ASKED_WITHIN else 0.0


class _Readiness:
    """Tries the ledger and looks at the disk, once for all who ask within a moment: it writes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._looking = asyncio.Lock()
        self._looked_at = -inf
        self._found: Transient | None = None

    async def demand(self) -> None:
        """Raise why no work could be kept now.

        Raises:
            Unavailable, OutOfSpace: Says what an operator has to mend.
        """
        async with self._looking:
            if time.monotonic() - self._looked_at >= REMEMBERED_SECONDS:
                self._found = await self._look()
                self._looked_at = time.monotonic()
        if self._found is not None:
            raise self._found.with_traceback(None)

    async def _look(self) -> Transient | None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._backend.database.write(schema.demand_ready)
                free = await asyncio.to_thread(self._backend.blobs.free_bytes)
        except TimeoutError:
            return Unavailable("the ledger does not answer", fix="check the database of the server")
        except OutOfSpace as error:
            return OutOfSpace(error.message)
        except VectorFlowError as error:
            return Unavailable(error.message, fix=error.fix)
        return None if free is None or free >= self._backend.limits.free_floor_bytes else no_room()
