"""What there is for workers to do."""

from fastapi import APIRouter, Request

from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.domain.access import Access, KeyScope
from vectorflow.errors import Forbidden
from vectorflow.service.backlog import Figures, figures


def backlog_routes(backend: Backend) -> APIRouter:
    """Make the route of the backlog."""
    router = APIRouter()

    @router.get("/v1/backlog")
    async def backlog(request: Request) -> Figures:
        """Tell what waits, what runs and what is blocked, over all tenants."""
        require(request, KeyScope.READ)
        _require_own_tenant(request, backend.desk.tenant)
        return await figures(backend.database)

    return router


def _require_own_tenant(request: Request, tenant: str) -> None:
    access: Access = request.state.access
    if access.tenant != tenant:
        message = "this key may not see the backlog: it is that of all tenants"
        raise Forbidden(message, fix=f"use a key of the tenant {tenant!r}")
