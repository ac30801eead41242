"""Settings -> how long things are kept that are over."""

from vectorflow.ledger.retention import Retention
from vectorflow.service.recover import Kept
from vectorflow.settings import Settings

HOUR, DAY = 3600.0, 86_400.0
"""Seconds."""


def how_long_kept(settings: Settings) -> Kept:
    """Read how long things are kept that are over."""
    retention = settings.retention
    return Kept(
        orphan_seconds=retention.orphans_hours * HOUR,
        vectors_seconds=retention.vectors_hours * HOUR,
        rows=Retention(
            versions=retention.versions_days * DAY,
            attempts=retention.attempts_days * DAY,
            failures=retention.failures_days * DAY,
            jobs=retention.jobs_days * DAY,
            keys=retention.keys_days * DAY,
        ),
    )
