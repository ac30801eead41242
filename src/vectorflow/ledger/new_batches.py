"""New batches: inserted ready, and the versions that they hold."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, update

from vectorflow.domain.fairness import ONE_DOCUMENT
from vectorflow.domain.jobs import BatchKind, BatchState, Lane
from vectorflow.ledger import clock, ready, shares
from vectorflow.ledger.each import update_each
from vectorflow.ledger.shares import Turn, Unplaced
from vectorflow.ledger.tables import batches, versions

GROUP_DOCUMENTS = 256
"""Documents of one batch at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch belongs: versions of one place share batches."""

    tenant: str
    job: int
    index: int
    pipeline: int


def make_batch(
    connection: Connection,
    place: Place,
    kind: BatchKind,
    *,
    version: int | None = None,
    cost: float = ONE_DOCUMENT,
    delay: float = 0.0,
) -> int:
    """Insert a ready batch and give its id; it can be claimed after `delay` seconds."""
    row = _ready(kind, NewBatch(place, version, cost=cost))
    result = connection.execute(insert(batches).values(**row, run_at=clock.now() + delay))
    made = inserted_id(result.inserted_primary_key)
    due = not delay
    shares.note(connection, [Unplaced(made, place.tenant, place.job, kind, cost, due=due)])
    return made


class NewBatch(NamedTuple):
    """A batch to make: whole documents of a place, or one part of one."""

    place: Place
    version: int | None = None
    part: int | None = None
    cut_from: int | None = None
    vectors: Sequence[str] = ()
    cost: float = ONE_DOCUMENT
    """Of 1 for a full batch."""
    turn: Turn | None = None
    """That of the batch it was a part of, which has been charged."""


def make_batches(connection: Connection, new: Sequence[NewBatch], kind: BatchKind) -> list[int]:
    """Insert ready batches of a kind, and give their ids in order."""
    if not new:
        return []
    # Not asked for in order: SQLite would be given them one by one. Those of a key are alike.
    made = connection.execute(
        insert(batches)
        .values(run_at=clock.now())
        .returning(batches.c.id, batches.c.job_id, batches.c.version_id, batches.c.part),
        [
            _ready(kind, one) | {"cut_from": one.cut_from, "vectors": list(one.vectors)}
            for one in new
        ],
    )
    ids: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for row in made:
        ids[(row.job_id, row.version_id, row.part)].append(row.id)
    keys = [ids[(one.place.job, one.version, one.part)].pop() for one in new]
    for one in new:
        if one.turn is not None:
            ready.note(connection, one.turn.lane, kind)
    shares.note(
        connection,
        [
            Unplaced(key, one.place.tenant, one.place.job, kind, one.cost)
            for key, one in zip(keys, new, strict=True)
            if one.turn is None
        ],
    )
    return keys


def cut_up(connection: Connection, batch: Row[Any], ids: Sequence[int], *, suspect: bool) -> None:
    """Give each of these versions of a batch one of its own, with the vectors that there are.

    They keep its place. `suspect` says that workers died over the batch: each runs alone then.
    """
    place = Place(batch.tenant, batch.job_id, batch.index_id, batch.pipeline_id)
    cut_from = batch.id if suspect else None
    turn = Turn(Lane(batch.lane), batch.virtual_time)
    single = NewBatch(place, cut_from=cut_from, vectors=batch.vectors, turn=turn)
    made = make_batches(connection, [single] * len(ids), BatchKind(batch.kind))
    hold_each(connection, list(zip(ids, made, strict=True)))


def hold_each(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Put single versions into batches of their own: version and batch of each."""
    rows = [{"id": version, "batch_id": batch} for version, batch in pairs]
    update_each(connection, versions, rows)


def _ready(kind: BatchKind, new: NewBatch) -> dict[str, object]:
    lane, virtual_time = new.turn or shares.NOT_YET
    return {
        "tenant": new.place.tenant,
        "job_id": new.place.job,
        "index_id": new.place.index,
        "pipeline_id": new.place.pipeline,
        "kind": kind,
        "version_id": new.version,
        "part": new.part,
        "state": BatchState.READY,
        "lane": lane,
        "virtual_time": virtual_time,
        "cost": new.cost,
        "lease_epoch": 0,
        "attempt": 0,
        "lost": 0,
        "vectors": [],
    }


def hold(connection: Connection, ids: Sequence[int], batch: int) -> None:
    """Put versions into a group batch."""
    connection.execute(update(versions).where(versions.c.id.in_(ids)).values(batch_id=batch))


def inserted_id(key: Sequence[object] | None) -> int:
    """Read the key of a row just inserted; every table that asks has an integer key."""
    if key is None or not isinstance(key[0], int):
        message = "the database gave no key for a new row"
        raise TypeError(message)
    return key[0]
