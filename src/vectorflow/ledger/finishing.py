"""Results into the ledger: one transaction, every write fenced by the epoch of its lease."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import compress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, select, update

from vectorflow.domain.fairness import embed_cost
from vectorflow.domain.jobs import BatchKind, BatchState, Outcome, VersionState
from vectorflow.errors import LeaseLost, VectorFlowError
from vectorflow.ledger import clock, outages
from vectorflow.ledger.attachments import take_attached
from vectorflow.ledger.columns import IDS
from vectorflow.ledger.dead_letters import failure_json
from vectorflow.ledger.each import insert_each, update_each
from vectorflow.ledger.late_writes import retire_again
from vectorflow.ledger.locking import Locking
from vectorflow.ledger.new_batches import NewBatch, Place, hold_each, make_batches
from vectorflow.ledger.outcomes import Outcomes
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import BY_ID, attempts, batches, indexes, parts, versions
from vectorflow.ledger.tally import Tally
from vectorflow.ports.work import Finished, Lease, NewPart, Usage

_LOCK_LEASED = (
    select(batches)
    .with_hint(batches, BY_ID, "mariadb")
    .where(batches.c.id.in_(IDS), batches.c.state == BatchState.LEASED)
    .order_by(batches.c.id)
    .with_for_update()
)

_VERSIONS_OF_BATCHES = Locking(
    versions,
    versions.c.batch_id.in_(IDS) | versions.c.id.in_(bindparam("single", expanding=True)),
)

_END = (
    update(batches)
    .where(batches.c.id.in_(IDS))
    .values(state=bindparam("final"), lease_until=None, bucket_id=None)
)

_NOTE_WRITTEN = (
    update(indexes).where(indexes.c.id.in_(IDS), indexes.c.written.is_(False)).values(written=True)
)


class _Progress(NamedTuple):
    """How far a version is; these are columns of its row."""

    rows: int
    new_rows: int
    parts_done: int
    parts_total: int | None


def finish(
    connection: Connection, results: Sequence[Finished], *, zombie_seconds: float
) -> list[bool]:
    """End batches; False for each whose lease is not the current one, which ends nothing."""
    held = lock_held(connection, [result.lease for result in results])
    accepted = [holds(held, result.lease) for result in results]
    current = list({result.lease.batch: result for result in compress(results, accepted)}.values())
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    rows = lock_versions(connection, held.values())
    usages = {result.lease.batch: result.usage for result in current}
    end_batches(connection, list(held.values()), BatchState.DONE)
    record_attempts(connection, list(held.values()), Outcome.OK, usages=usages)
    for key, usage in usages.items():
        _tally_usage(tally, held[key], usage)
    end_retires(connection, tally, held.values())
    made = [(held[result.lease.batch], result.parts) for result in current]
    progress = _commit(connection, made, rows, _stored(held, current, rows))
    _note_written(connection, held.values())
    take_attached(connection, outcomes, tally, made, rows)
    _end_versions(connection, outcomes, progress, rows, _dead_letters(current, rows))
    stale = [result.lease for result, kept in zip(results, accepted, strict=True) if not kept]
    stale += [late for one in current if (late := _too_late(held, one.lease, rows))]
    retire_again(connection, tally, stale, zombie_seconds=zombie_seconds)
    outcomes.write()
    went_well = [(held[one.lease.batch], one) for one in current]
    outages.finished(connection, went_well, list(held.values()))
    return accepted


def _too_late(
    held: Mapping[int, Row[Any]], lease: Lease, rows: Mapping[int, Row[Any]]
) -> Lease | None:
    """Keep of a lease on whole documents those that gave way to newer versions meanwhile.

    Of parts the worker is told to stop, and what it wrote until then is looked after.
    """
    ended = tuple(version for version in lease.versions if version.id not in rows)
    whole = lease.kind is BatchKind.EMBED and held[lease.batch].version_id is None
    return replace(lease, versions=ended) if ended and whole else None


def commit_parts(
    connection: Connection, lease: Lease, new_parts: Sequence[NewPart], *, zombie_seconds: float
) -> None:
    """Make parts of a manifest durable while their batch goes on.

    Raises:
        LeaseLost: Nothing was written.
    """
    held = lock_held(connection, [lease]).get(lease.batch)
    if held is None:
        raise lease_lost(lease)
    _excuse(connection, held)
    tally, made = Tally(), [(held, new_parts)]
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    rows = lock_versions(connection, [held])
    progress = _commit(connection, made, rows)
    take_attached(connection, outcomes, tally, made, rows)
    _end_versions(connection, outcomes, progress, rows, {})
    outcomes.write()


def _excuse(connection: Connection, held: Row[Any]) -> None:
    """Note that a batch gets on: the leases of it that were lost before say nothing about it."""
    if held.lost > (held.excused or 0):
        connection.execute(
            update(batches).where(batches.c.id == held.id).values(excused=batches.c.lost)
        )


def add_vectors(connection: Connection, files: Sequence[tuple[Lease, str]]) -> list[bool]:
    """Remember vector files of batches; False for each whose lease is not the current one."""
    held = lock_held(connection, [lease for lease, _ in files])
    accepted = [holds(held, lease) for lease, _ in files]
    more: defaultdict[int, list[str]] = defaultdict(list)
    for lease, blob in compress(files, accepted):
        more[lease.batch].append(blob)
    kept = [{"id": key, "vectors": [*held[key].vectors, *blobs]} for key, blobs in more.items()]
    update_each(connection, batches, kept, excused=batches.c.lost)
    return accepted


def lock_held(connection: Connection, leases: Sequence[Lease]) -> dict[int, Row[Any]]:
    """Lock the batches of these leases, in order; leave out those that are not theirs any more."""
    current = {(lease.batch, lease.epoch) for lease in leases}
    rows = connection.execute(_LOCK_LEASED, {"ids": {batch for batch, _ in current}})
    return {row.id: row for row in rows if (row.id, row.lease_epoch) in current}


def holds(held: Mapping[int, Row[Any]], lease: Lease) -> bool:
    """Whether it is this lease of its batch that is the current one."""
    row = held.get(lease.batch)
    return row is not None and row.lease_epoch == lease.epoch


def record_attempts(
    connection: Connection,
    rows: Sequence[Row[Any]],
    outcome: Outcome,
    *,
    error: VectorFlowError | None = None,
    usages: Mapping[int, Usage] | None = None,
) -> None:
    """Write the one row that each try ends with; `usages` by batch."""
    if not rows:
        return
    costs = usages or {}
    insert_each(
        connection,
        attempts,
        [
            {
                "batch_id": row.id,
                "epoch": row.lease_epoch,
                "tenant": row.tenant,
                "owner": row.lease_owner,
                "outcome": outcome,
                "error": error.code if error else None,
                **asdict(costs.get(row.id, Usage())),
                "started_at": row.leased_at,
            }
            for row in rows
        ],
        ended_at=clock.now(),
    )


def lease_lost(lease: Lease) -> LeaseLost:
    """Say that a batch is not ours any more."""
    return LeaseLost(f"batch {lease.batch} belongs to another worker now")


def lock_versions(connection: Connection, held: Collection[Row[Any]]) -> dict[int, Row[Any]]:
    """Lock the versions of these batches, in order of id; gives the open ones."""
    # Not by a subquery: beside an OR, MariaDB and PostgreSQL would read all versions for it.
    single = [row.version_id for row in held if row.version_id is not None]
    rows = _VERSIONS_OF_BATCHES.rows(connection, ids=[row.id for row in held], single=single)
    return {row.id: row for row in rows if row.state == VersionState.INDEXING}


def _stored(
    held: Mapping[int, Row[Any]], results: Iterable[Finished], rows: Mapping[int, Row[Any]]
) -> list[int]:
    """Give the open versions of which these batches stored a part, once for each part."""
    return [
        version.id
        for result in results
        for version in result.lease.versions
        if held[result.lease.batch].kind == BatchKind.EMBED
        and version.id in rows
        and version.id not in result.failures
    ]


def _note_written(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    """From the first stored batch on, a store without the index has lost it."""
    filled = {row.index_id for row in rows if row.kind == BatchKind.EMBED}
    if filled:
        connection.execute(_NOTE_WRITTEN, {"ids": filled})


def _commit(
    connection: Connection,
    made: Sequence[tuple[Row[Any], Sequence[NewPart]]],
    rows: Mapping[int, Row[Any]],
    stored: Sequence[int] = (),
) -> dict[int, _Progress]:
    """Insert the parts that batches made, and the embed batches for what is new in them.

    Args:
        connection: Of the transaction.
        made: Batches, and the parts that each made.
        rows: Open versions of these batches by id, locked.
        stored: Versions of which a part was stored, once for each part.

    Returns:
        How far each version is that got on.
    """
    wanted = [
        (Place(batch.tenant, batch.job_id, batch.index_id, batch.pipeline_id), own)
        for batch, new_parts in made
        if (own := [new for new in new_parts if new.version in rows])
    ]
    accepted = [new for _, own in wanted for new in own]
    insert_each(connection, parts, [_part_values(new) for new in accepted])
    progress = _progress(rows, accepted, stored)
    advanced = [{"id": key, **one._asdict()} for key, one in progress.items()]
    update_each(connection, versions, advanced)
    _make_embed_batches(connection, wanted)
    return progress


def _part_values(new: NewPart) -> dict[str, object]:
    part = new.part
    return {
        "version_id": new.version,
        "number": part.number,
        "blob": part.blob,
        "row_start": part.row_start,
        "rows": part.rows,
        "resume_at": part.resume_at,
    }


def _progress(
    rows: Mapping[int, Row[Any]], new: Iterable[NewPart], stored: Iterable[int]
) -> dict[int, _Progress]:
    """Add up; parts without new records need no storing and are done at once."""
    progress: dict[int, _Progress] = {}
    for one in new:
        before = progress.get(one.version) or _progress_of(rows[one.version])
        progress[one.version] = _Progress(
            rows=before.rows + one.part.rows,
            new_rows=before.new_rows + one.new_rows,
            parts_done=before.parts_done + (not one.new_rows),
            parts_total=one.part.number + 1 if one.last else before.parts_total,
        )
    for key in stored:
        before = progress.get(key) or _progress_of(rows[key])
        progress[key] = before._replace(parts_done=before.parts_done + 1)
    return progress


def _progress_of(row: Row[Any]) -> _Progress:
    return _Progress(row.rows, row.new_rows, row.parts_done, row.parts_total)


def _make_embed_batches(
    connection: Connection, wanted: Sequence[tuple[Place, Sequence[NewPart]]]
) -> None:
    """Whole documents of a batch share one; a part of a longer document has one of its own."""
    shared: list[tuple[NewBatch, list[int]]] = []
    single: list[NewBatch] = []
    for place, accepted in wanted:
        new_ones = [new for new in accepted if new.new_rows]
        whole = [new for new in new_ones if new.last and new.part.number == 0]
        if whole:
            cost = embed_cost(len(whole), sum(new.new_rows for new in whole))
            shared.append((NewBatch(place, cost=cost), [new.version for new in whole]))
        single += [
            NewBatch(place, new.version, new.part.number, cost=embed_cost(1, new.new_rows))
            for new in new_ones
            if new.part.number or not new.last
        ]
    made = make_batches(connection, [*(new for new, _ in shared), *single], BatchKind.EMBED)
    held = zip(shared, made[: len(shared)], strict=True)
    hold_each(connection, [(version, batch) for (_, whole), batch in held for version in whole])


def _end_versions(
    connection: Connection,
    outcomes: Outcomes,
    progress: Mapping[int, _Progress],
    rows: Mapping[int, Row[Any]],
    failed: Mapping[int, dict[str, object]],
) -> None:
    """Flip the versions whose parts are all stored, and end the failed ones."""
    complete = {key for key, one in progress.items() if one.parts_done == one.parts_total}
    ending = complete | failed.keys()
    grown = [key for key in ending & progress.keys() if progress[key].rows != rows[key].rows]
    now = dict(rows)
    for some in slices(grown):
        found = connection.execute(select(versions).where(versions.c.id.in_(some)))
        now.update((row.id, row) for row in found)
    outcomes.end([now[key] for key in ending], failed)


def _dead_letters(
    results: Iterable[Finished], rows: Mapping[int, Row[Any]]
) -> dict[int, dict[str, object]]:
    return {
        version: failure_json(error, stage=result.lease.kind, attempts=result.lease.attempt)
        for result in results
        for version, error in result.failures.items()
        if version in rows
    }


def end_retires(connection: Connection, tally: Tally, rows: Iterable[Row[Any]]) -> None:
    """Let go of retired versions: their manifests are needed no more."""
    retired = [row for row in rows if row.kind == BatchKind.RETIRE]
    if not retired:
        return
    ids = [row.id for row in retired]
    connection.execute(update(versions).where(versions.c.batch_id.in_(ids)).values(batch_id=None))
    for row in retired:
        tally.add(row.job_id, cleanup_open=-1)


def end_batches(connection: Connection, rows: Sequence[Row[Any]], state: BatchState) -> None:
    """Put batches into a state from which they do not come back."""
    connection.execute(_END, {"ids": [row.id for row in rows], "final": state})


def _tally_usage(tally: Tally, row: Row[Any], usage: Usage) -> None:
    tally.add(
        row.job_id,
        chunks_embedded=usage.chunks_embedded,
        embedding_calls=usage.embedding_calls,
        tokens=usage.tokens,
    )
