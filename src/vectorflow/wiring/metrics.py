"""Settings -> what a process counts, and how it tells."""

import os
from collections.abc import Mapping
from importlib.metadata import version

from vectorflow.api.backend import MetricsPage
from vectorflow.domain.metrics import Sample
from vectorflow.ledger.database import Database
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.service.metrics import LedgerMetrics
from vectorflow.settings import Settings

DISTRIBUTION = "vectorflow-engine"


def make_metrics(*, told: bool) -> Metrics:
    """Make what a process counts with, if anybody is told."""
    if not told:
        return NO_METRICS
    from vectorflow.adapters.metrics.prometheus import PrometheusMetrics  # noqa: PLC0415 - few do

    return PrometheusMetrics()


def make_shared_metrics(environ: Mapping[str, str] = os.environ) -> Metrics:
    """Make the same for a process that may be one of several behind one port.

    Each would tell what it alone has counted, and who asks reaches now this one, now that: without
    a folder in which they count together, they tell nothing but how the ledger stands.
    """
    return make_metrics(told=bool(environ.get("PROMETHEUS_MULTIPROC_DIR")))


def make_page(
    settings: Settings, metrics: Metrics, database: Database | None = None
) -> MetricsPage:
    """Make what monitoring systems are told; without a ledger what the process counted, alone."""
    from vectorflow.adapters.metrics import prometheus  # noqa: PLC0415 - few processes need it

    sends = settings.queue.url is not None
    ledger = LedgerMetrics(database, sends=sends) if database else None
    release = Sample("vectorflow_info", 1, {"version": version(DISTRIBUTION)})

    async def text() -> bytes:
        known = await ledger.samples() if ledger else []
        return prometheus.written([release, *known], metrics)

    return MetricsPage(text=text, content_type=prometheus.CONTENT_TYPE, open=settings.metrics.open)
