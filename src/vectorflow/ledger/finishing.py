"""Results into the ledger: one transaction, every write fenced by the epoch of its lease."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import compress
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from vectorflow.domain.jobs import BatchKind, BatchState, Outcome, VersionState
from vectorflow.domain.retries import GiveUp, Retry
from vectorflow.errors import LeaseLost, VectorFlowError
from vectorflow.ledger import clock
from vectorflow.ledger.late_writes import retire_again
from vectorflow.ledger.outcomes import (
    NewBatch,
    Outcomes,
    Place,
    failure_json,
    hold_each,
    make_batches,
)
from vectorflow.ledger.tables import attempts, batches, indexes, parts, versions
from vectorflow.ledger.tally import Tally
from vectorflow.ports.work import Finished, Lease, NewPart, Usage


def finish(
    connection: Connection, results: Sequence[Finished], *, zombie_seconds: float
) -> list[bool]:
    """End batches; False for each whose lease is not the current one, which ends nothing."""
    held = lock_held(connection, [result.lease for result in results])
    accepted = [holds(held, result.lease) for result in results]
    current = list({result.lease.batch: result for result in compress(results, accepted)}.values())
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    rows = _lock_versions(connection, list(held))
    usages = {result.lease.batch: result.usage for result in current}
    _end_batches(connection, list(held.values()), BatchState.DONE)
    record_attempts(connection, list(held.values()), Outcome.OK, usages=usages)
    for key, usage in usages.items():
        _tally_usage(tally, held[key], usage)
    end_retires(connection, tally, held.values())
    changed = _advance(connection, held, current, rows)
    _end_versions(connection, outcomes, changed, _dead_letters(current))
    stale = [result.lease for result, kept in zip(results, accepted, strict=True) if not kept]
    retire_again(connection, tally, stale, zombie_seconds=zombie_seconds)
    outcomes.write()
    return accepted


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
    outcomes = Outcomes(connection, Tally(), zombie_seconds=zombie_seconds)
    rows = _lock_versions(connection, [lease.batch])
    changed = _commit(connection, [(held, new_parts)], rows)
    _end_versions(connection, outcomes, changed, {})
    outcomes.write()


def add_vectors(connection: Connection, files: Sequence[tuple[Lease, str]]) -> list[bool]:
    """Remember vector files of batches; False for each whose lease is not the current one."""
    held = lock_held(connection, [lease for lease, _ in files])
    accepted = [holds(held, lease) for lease, _ in files]
    more: defaultdict[int, list[str]] = defaultdict(list)
    for lease, blob in compress(files, accepted):
        more[lease.batch].append(blob)
    if more:
        connection.execute(
            update(batches)
            .where(batches.c.id == bindparam("key"))
            .values(vectors=bindparam("kept", type_=batches.c.vectors.type)),
            [{"key": key, "kept": [*held[key].vectors, *blobs]} for key, blobs in more.items()],
        )
    return accepted


def release(
    connection: Connection,
    lease: Lease,
    error: VectorFlowError | None,
    decision: Retry | GiveUp,
    *,
    zombie_seconds: float,
) -> None:
    """Hand a batch back for a later try, or make its documents dead letters."""
    held = lock_held(connection, [lease]).get(lease.batch)
    if held is None:
        tally = Tally()
        retire_again(connection, tally, [lease], zombie_seconds=zombie_seconds)
        tally.write(connection)
        return
    if isinstance(decision, Retry):
        _hand_back(connection, held, error, decision)
        return
    rows = _lock_versions(connection, [lease.batch])
    _end_batches(connection, [held], BatchState.DEAD)
    record_attempts(connection, [held], Outcome.ERROR, error=error)
    tally = Tally()
    outcomes = Outcomes(connection, tally, zombie_seconds=zombie_seconds)
    if held.kind == BatchKind.RETIRE:
        end_retires(connection, tally, [held])
    elif error is not None:
        letter = failure_json(error, stage=held.kind, attempts=held.attempt)
        blamed = [key for key, row in rows.items() if _is_to_blame(held, row)]
        _end_versions(connection, outcomes, blamed, dict.fromkeys(blamed, letter))
    outcomes.write()


def lock_held(connection: Connection, leases: Sequence[Lease]) -> dict[int, Row[Any]]:
    """Lock the batches of these leases, in order; leave out those that are not theirs any more."""
    current = {(lease.batch, lease.epoch) for lease in leases}
    rows = connection.execute(
        select(batches)
        .where(
            batches.c.id.in_({batch for batch, _ in current}), batches.c.state == BatchState.LEASED
        )
        .order_by(batches.c.id)
        .with_for_update()
    )
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
    connection.execute(
        insert(attempts).values(ended_at=clock.now()),
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
    )


def lease_lost(lease: Lease) -> LeaseLost:
    """Say that a batch is not ours any more."""
    return LeaseLost(f"batch {lease.batch} belongs to another worker now")


def _lock_versions(connection: Connection, held: Sequence[int]) -> dict[int, Row[Any]]:
    """Lock the versions of these batches, in order of id; gives the open ones."""
    single = select(batches.c.version_id).where(
        batches.c.id.in_(held), batches.c.version_id.is_not(None)
    )
    rows = connection.execute(
        select(versions)
        .where(versions.c.batch_id.in_(held) | versions.c.id.in_(single))
        .order_by(versions.c.id)
        .with_for_update()
    )
    return {row.id: row for row in rows if row.state == VersionState.INDEXING}


def _is_to_blame(batch: Row[Any], row: Row[Any]) -> bool:
    """What was extracted whole before its batch failed is embedded by others."""
    return not (batch.kind == BatchKind.EXTRACT and row.parts_total is not None)


def _advance(
    connection: Connection,
    held: dict[int, Row[Any]],
    results: Sequence[Finished],
    rows: dict[int, Row[Any]],
) -> set[int]:
    """Apply what the batches made; gives the ids of the versions it changed."""
    made = [(held[result.lease.batch], result.parts) for result in results]
    changed = _commit(connection, made, rows)
    stored: list[int] = []
    for result in results:
        changed |= result.failures.keys() & rows.keys()
        if held[result.lease.batch].kind == BatchKind.EMBED:
            ids = [version.id for version in result.lease.versions]
            stored += [key for key in ids if key in rows and key not in result.failures]
    if stored:
        connection.execute(
            update(versions)
            .where(versions.c.id == bindparam("key"))
            .values(parts_done=versions.c.parts_done + 1),
            [{"key": key} for key in stored],
        )
    _note_written(connection, held.values())
    return changed | set(stored)


def _note_written(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    """From the first stored batch on, a store without the index has lost it."""
    filled = {row.index_id for row in rows if row.kind == BatchKind.EMBED}
    if filled:
        connection.execute(
            update(indexes)
            .where(indexes.c.id.in_(filled), indexes.c.written.is_(False))
            .values(written=True)
        )


def _commit(
    connection: Connection,
    made: Sequence[tuple[Row[Any], Sequence[NewPart]]],
    rows: dict[int, Row[Any]],
) -> set[int]:
    """Insert the parts that batches made, and the embed batches for what is new in them."""
    wanted = [
        (Place(batch.tenant, batch.job_id, batch.index_id, batch.pipeline_id), own)
        for batch, new_parts in made
        if (own := [new for new in new_parts if new.version in rows])
    ]
    accepted = [new for _, own in wanted for new in own]
    if not accepted:
        return set()
    connection.execute(insert(parts), [_part_values(new) for new in accepted])
    grown = _growth(accepted)
    connection.execute(
        update(versions)
        .where(versions.c.id == bindparam("key"))
        .values(
            rows=versions.c.rows + bindparam("more_rows"),
            new_rows=versions.c.new_rows + bindparam("more_new"),
            parts_done=versions.c.parts_done + bindparam("done"),
            parts_total=bindparam("total"),
        ),
        grown,
    )
    _make_embed_batches(connection, wanted)
    return {new.version for new in accepted}


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


def _growth(accepted: Sequence[NewPart]) -> list[dict[str, object]]:
    """What each version gains; parts without new records need no storing and are done at once."""
    by_version: defaultdict[int, list[NewPart]] = defaultdict(list)
    for new in accepted:
        by_version[new.version].append(new)
    return [
        {
            "key": version,
            "more_rows": sum(new.part.rows for new in group),
            "more_new": sum(new.new_rows for new in group),
            "done": sum(new.new_rows == 0 for new in group),
            "total": next((new.part.number + 1 for new in group if new.last), None),
        }
        for version, group in by_version.items()
    ]


def _make_embed_batches(
    connection: Connection, wanted: Sequence[tuple[Place, Sequence[NewPart]]]
) -> None:
    """Whole documents of a batch share one; a part of a longer document has one of its own."""
    shared: list[tuple[Place, list[int]]] = []
    single: list[NewBatch] = []
    for place, accepted in wanted:
        new_ones = [new for new in accepted if new.new_rows]
        whole = [new.version for new in new_ones if new.last and new.part.number == 0]
        shared += [(place, whole)] if whole else []
        single += [
            NewBatch(place, new.version, new.part.number)
            for new in new_ones
            if new.part.number or not new.last
        ]
    groups = [NewBatch(place) for place, _ in shared]
    made = make_batches(connection, [*groups, *single], BatchKind.EMBED)
    held = zip(shared, made[: len(shared)], strict=True)
    hold_each(connection, [(version, batch) for (_, whole), batch in held for version in whole])


def _end_versions(
    connection: Connection,
    outcomes: Outcomes,
    changed: Iterable[int],
    failed: dict[int, dict[str, object]],
) -> None:
    """Flip the versions whose parts are all stored, and end the failed ones."""
    rows = connection.execute(select(versions).where(versions.c.id.in_(set(changed)))).all()
    ending = [
        row
        for row in rows
        if row.state == VersionState.INDEXING
        and (row.id in failed or row.parts_done == row.parts_total)
    ]
    outcomes.end(ending, failed)


def _dead_letters(results: Sequence[Finished]) -> dict[int, dict[str, object]]:
    return {
        version: failure_json(error, stage=result.lease.kind, attempts=result.lease.attempt)
        for result in results
        for version, error in result.failures.items()
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


def _end_batches(connection: Connection, rows: Sequence[Row[Any]], state: BatchState) -> None:
    connection.execute(
        update(batches)
        .where(batches.c.id.in_([row.id for row in rows]))
        .values(state=state, lease_until=None)
    )


def _hand_back(
    connection: Connection, row: Row[Any], error: VectorFlowError | None, decision: Retry
) -> None:
    outcome = Outcome.ERROR if error else Outcome.RELEASED
    outcome = Outcome.THROTTLED if error and decision.refund else outcome
    letter = failure_json(error, stage=row.kind, attempts=row.attempt) if error else None
    connection.execute(
        update(batches)
        .where(batches.c.id == row.id)
        .values(
            state=BatchState.READY,
            run_at=clock.now() + decision.delay,
            attempt=batches.c.attempt - int(decision.refund),
            lease_until=None,
            last_error=letter,
        )
    )
    record_attempts(connection, [row], outcome, error=error)


def _tally_usage(tally: Tally, row: Row[Any], usage: Usage) -> None:
    tally.add(
        row.job_id,
        chunks_embedded=usage.chunks_embedded,
        embedding_calls=usage.embedding_calls,
        tokens=usage.tokens,
    )
