"""What there is for workers to do."""

from fastapi import APIRouter, Request

from vectorflow.api.auth import require, require_own_tenant
from vectorflow.api.backend import Backend
from vectorflow.domain.access import KeyScope
from vectorflow.service.backlog import Figures, figures


def backlog_routes(backend: Backend) -> APIRouter:
    """Make the route of the backlog."""
    router = APIRouter()

    @router.get("/v1/backlog")
    async def backlog(request: Request) -> Figures:
        """Tell what waits, what runs and what is blocked, over all tenants."""
        require(request, KeyScope.READ)
        require_own_tenant(request, backend.desk.tenant, "the backlog")
        return await figures(backend.database)

    return router
