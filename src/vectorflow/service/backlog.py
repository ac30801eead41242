"""The backlog in figures: for people, and for what starts and stops workers by them."""

from collections.abc import Mapping
from dataclasses import dataclass

from vectorflow.domain.jobs import LANES, BatchKind
from vectorflow.ledger.backlog import COUNTED_TO, Waiting, backlog
from vectorflow.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What there is for workers to do, over all tenants."""

    demand: int
    """Batches that wait for a worker or have one; what is blocked is not in it."""
    total: Waiting
    waiting_versions: int
    paused_jobs: Mapping[str, int]
    lanes: Mapping[str, Mapping[BatchKind, Waiting]]
    """By lane and kind of batch."""
    counted_to: int
    """No line counts further."""


async def figures(database: Database) -> Figures:
    """Read the backlog."""
    found = await database.read(backlog)
    total = found.total
    return Figures(
        demand=total.ready + total.leased,
        total=total,
        waiting_versions=found.waiting_versions,
        paused_jobs=found.paused_jobs,
        lanes={
            lane.name.lower(): {kind: found.lines[lane, kind] for kind in BatchKind}
            for lane in LANES
        },
        counted_to=COUNTED_TO,
    )
