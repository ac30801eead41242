"""Leases as workers elsewhere name them: whose they are, and what they are for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from vectorflow.domain.jobs import BatchKind, BatchState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger import clock, outages
from vectorflow.ledger.claims import ledger_id
from vectorflow.ledger.secrets import Sealed, sealed_of
from vectorflow.ledger.tables import attempts, batches, indexes, parts, pipelines
from vectorflow.ports.work import LeasedIndex, NewPart

Name = tuple[int, int]
"""Batch and epoch."""

_pipelines = TypeAdapter(Pipeline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a current lease lets its worker reach."""

    pipeline: Pipeline
    index: LeasedIndex
    sealed: Sealed


def is_work(connection: Connection, *, kinds: Sequence[BatchKind]) -> bool:
    """Whether anything waits that a claim might be given."""
    return outages.are_ending(connection) or any(
        connection.execute(
            select(batches.c.id)
            .where(
                batches.c.state == BatchState.READY,
                batches.c.kind == kind,
                batches.c.run_at <= clock.now(),
            )
            .limit(1)
        ).first()
        for kind in kinds
    )


def is_current(connection: Connection, *, owner: str, names: Sequence[Name]) -> bool:
    """Whether one of these is a lease that this owner holds now."""
    return _first_current(connection, owner, names) is not None


def held(connection: Connection, *, owner: str, names: Sequence[Name]) -> Held | None:
    """Look up the first of these leases that this owner holds now."""
    batch = _first_current(connection, owner, names)
    if batch is None:
        return None
    row = connection.execute(
        select(batches, pipelines.c.spec, indexes.c.incarnation, indexes.c.written)
        .join(pipelines, pipelines.c.id == batches.c.pipeline_id)
        .join(indexes, indexes.c.id == batches.c.index_id)
        .where(batches.c.id == batch)
    ).one()
    return Held(
        pipeline=_pipelines.validate_python(row.spec),
        index=LeasedIndex(
            id=row.index_id,
            ledger=ledger_id(connection),
            incarnation=row.incarnation,
            written=row.written,
        ),
        sealed=sealed_of(connection, [row])[0],
    )


def owned(connection: Connection, *, owner: str, names: Iterable[Name]) -> set[Name]:
    """Leave out leases that were never this owner's: its own ones are told apart by their epochs.

    A lease that is not current any more has a row in `attempts`.
    """
    wanted = {name for name in names if _may_be(name)}
    ids = {batch for batch, _ in wanted}
    now = select(batches.c.id, batches.c.lease_epoch).where(
        batches.c.id.in_(ids), batches.c.lease_owner == owner
    )
    before = select(attempts.c.batch_id, attempts.c.epoch).where(
        attempts.c.batch_id.in_(ids), attempts.c.owner == owner
    )
    rows = [row for some in (now, before) for row in connection.execute(some)]
    return {(row[0], row[1]) for row in rows} & wanted


def uncommitted(connection: Connection, *, new_parts: Sequence[NewPart]) -> list[NewPart]:
    """Leave out what is committed: a worker that got no answer sends it again."""
    there = select(parts.c.version_id, parts.c.number, parts.c.blob).where(
        parts.c.version_id.in_({new.version for new in new_parts})
    )
    known = {(row.version_id, row.number, row.blob) for row in connection.execute(there)}
    return [new for new in new_parts if (new.version, new.part.number, new.part.blob) not in known]


def _may_be(name: Name) -> bool:
    """Whether the database can be asked for it."""
    batch, epoch = name
    return 0 < batch < 1 << 63 and 0 < epoch < 1 << 31


def _first_current(connection: Connection, owner: str, names: Sequence[Name]) -> int | None:
    rows = connection.execute(
        select(batches.c.id, batches.c.lease_epoch)
        .where(
            batches.c.id.in_({batch for batch, _ in names}),
            batches.c.state == BatchState.LEASED,
            batches.c.lease_owner == owner,
        )
        .order_by(batches.c.id)
    )
    wanted = set(names)
    return next((row.id for row in rows if (row.id, row.lease_epoch) in wanted), None)
