"""The metrics of a process that serves nothing else: a worker."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vectorflow.api.backend import MetricsPage
from vectorflow.api.routes.metrics import METRICS_PATH


def make_metrics_app(page: MetricsPage) -> Starlette:
    """Make an application of one page, which whoever reaches it may read."""

    async def metrics(_request: Request) -> Response:
        return Response(await page.text(), media_type=page.content_type)

    return Starlette(routes=[Route(METRICS_PATH, metrics)])
