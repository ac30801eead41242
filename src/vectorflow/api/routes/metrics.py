"""What monitoring systems collect."""

from fastapi import APIRouter, Request, Response

from vectorflow.api.auth import require, require_own_tenant
from vectorflow.api.backend import Backend
from vectorflow.domain.access import KeyScope

METRICS_PATH = "/metrics"


def metrics_routes(backend: Backend) -> APIRouter:
    """Make the route of the metrics."""
    router = APIRouter()
    page = backend.metrics

    @router.get(METRICS_PATH, response_class=Response)
    async def metrics(request: Request) -> Response:
        """Tell how the ledger stands, over all tenants, in the text format of Prometheus."""
        if not page.open:
            require(request, KeyScope.READ)
            require_own_tenant(request, backend.desk.tenant, "the metrics")
        return Response(await page.text(), media_type=page.content_type)

    return router
