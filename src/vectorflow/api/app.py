"""The application: layers and routes."""

from fastapi import FastAPI

from vectorflow.api.auth import OPEN_PATHS, KeyRequired
from vectorflow.api.backend import Backend
from vectorflow.api.edge import Edge
from vectorflow.api.errors import add_handlers
from vectorflow.api.routes.backlog import backlog_routes
from vectorflow.api.routes.embed import embed_routes
from vectorflow.api.routes.failures import failure_routes
from vectorflow.api.routes.health import health_routes
from vectorflow.api.routes.jobs import job_routes
from vectorflow.api.routes.metrics import METRICS_PATH, metrics_routes
from vectorflow.api.routes.v1_jobs import v1_job_routes
from vectorflow.api.routes.vectors import vector_routes
from vectorflow.api.routes.work import work_routes


def make_app(backend: Backend) -> FastAPI:
    """Make the application of a backend, which the caller opens before and closes after."""
    app = FastAPI(title="VectorFlow", openapi_url=None, redirect_slashes=False)
    for routes in (health_routes, embed_routes, job_routes):
        app.include_router(routes(backend))
    for routes in (v1_job_routes, vector_routes, failure_routes, backlog_routes, metrics_routes):
        app.include_router(routes(backend))
    app.include_router(work_routes(backend.desk))
    add_handlers(app)
    open_paths = OPEN_PATHS | {METRICS_PATH} if backend.metrics.open else OPEN_PATHS
    app.add_middleware(KeyRequired, access_of=backend.access_of, open_paths=open_paths)
    app.add_middleware(Edge)  # added last: the outermost
    return app
