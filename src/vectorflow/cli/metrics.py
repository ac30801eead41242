"""Telling metrics beside the work: a worker's own small server."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vectorflow.ledger.database import Database
    from vectorflow.ports.metrics import Metrics
    from vectorflow.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Connections; those beyond are turned away."""


@asynccontextmanager
async def telling_metrics(
    settings: "Settings", metrics: "Metrics", database: "Database | None" = None
) -> AsyncGenerator[None]:
    """Tell metrics meanwhile, if the settings name a port for that.

    Raises:
        InvalidInput: Somebody else has it, or it is not ours to take.
    """
    if settings.metrics.port is None:
        yield
        return
    import uvicorn

    from vectorflow.api.metrics import make_metrics_app
    from vectorflow.cli.server import Server, listen, url_of
    from vectorflow.wiring.metrics import make_page

    config = uvicorn.Config(
        make_metrics_app(make_page(settings, metrics, database)),
        lifespan="off",
        log_config=None,
        access_log=False,
        limit_concurrency=AT_ONCE,
        timeout_graceful_shutdown=1,
    )
    with listen(settings.metrics.host, settings.metrics.port, option="--metrics-port") as listener:
        where = {"url": f"{url_of(listener)}/metrics"}
        server = Server(config, partial(log.info, "metrics_told", extra=where))
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving
