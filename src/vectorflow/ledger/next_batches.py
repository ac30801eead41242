"""Batches that the end of versions calls for: of those that begin, and of those to retire."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from vectorflow.domain.fairness import ONE_DOCUMENT, extract_cost
from vectorflow.domain.jobs import OPEN_BATCHES, BatchKind
from vectorflow.ledger.new_batches import GROUP_DOCUMENTS, Place, hold, make_batch
from vectorflow.ledger.new_versions import fitting
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches
from vectorflow.ledger.tally import Tally


def make_extract_batches(
    connection: Connection, beginning: Sequence[tuple[Place, Row[Any]]]
) -> None:
    """Put versions into batches of their places."""
    groups: defaultdict[Place, list[Row[Any]]] = defaultdict(list)
    for place, row in beginning:
        groups[place].append(row)
    for place, rows in groups.items():
        for some in fitting((row.id, row.blob_length or 0, row) for row in rows):
            cost = extract_cost(row.blob_length or 0 for row in some)
            batch = make_batch(connection, place, BatchKind.EXTRACT, cost=cost)
            hold(connection, [row.id for row in some], batch)


def make_retire_batches(
    connection: Connection,
    tally: Tally,
    retiring: Sequence[tuple[Place, Row[Any]]],
    *,
    zombie_seconds: float,
) -> None:
    """Put versions into batches of their places, and those with zombies into one each, later."""
    groups: defaultdict[Place, list[int]] = defaultdict(list)
    busy = _with_open_batches(connection, [row.id for _, row in retiring])
    for place, row in retiring:
        groups[place].append(row.id)
        if row.lost or row.id in busy:
            tally.add(place.job, cleanup_open=1)
            make_batch(connection, place, BatchKind.RETIRE, version=row.id, delay=zombie_seconds)
    for place, ids in groups.items():
        for some in slices(ids, GROUP_DOCUMENTS):
            tally.add(place.job, cleanup_open=1)
            cost = len(some) * ONE_DOCUMENT
            batch = make_batch(connection, place, BatchKind.RETIRE, cost=cost)
            hold(connection, some, batch)


def _with_open_batches(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Versions whose other parts may be with a worker that does not know yet."""
    busy: set[int] = set()
    for some in slices(ids):
        found = connection.execute(
            select(batches.c.version_id).where(
                batches.c.version_id.in_(some),
                batches.c.state.in_(OPEN_BATCHES),
            )
        )
        busy.update(found.scalars())
    return busy
