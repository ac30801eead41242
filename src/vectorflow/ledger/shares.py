"""Fair shares: what a transaction makes is noted while it runs, and gets its places at its end.

Thus the rows of tenants are locked last of all: who has one waits for nobody any more, and keeps
others of the same tenant waiting for no longer than a commit takes.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from vectorflow.domain.access import check_tenant
from vectorflow.domain.fairness import NO_SHARE, ONE_DOCUMENT, Share, placed, refunded
from vectorflow.domain.jobs import BatchKind, BatchState, Lane
from vectorflow.ledger import ready
from vectorflow.ledger.each import update_each
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, jobs, shares, tenants

_KEY = "vectorflow.unplaced"


class Turn(NamedTuple):
    """The place of a batch."""

    lane: Lane
    virtual_time: float


NOT_YET = Turn(Lane.BULK, -1.0)
"""Of a batch that has no place yet; none is committed like this."""


class Unplaced(NamedTuple):
    """A ready batch that has no place yet."""

    batch: int
    tenant: str
    job: int
    kind: BatchKind
    cost: float
    due: bool = True
    """It may be claimed after the commit, not only later."""


class Line(NamedTuple):
    """What a tenant has in line."""

    tenant: str
    lane: Lane
    kind: BatchKind


def unplaced(row: Row[Any]) -> Unplaced:
    """Read a batch that gets in line anew."""
    cost = ONE_DOCUMENT if row.cost is None else row.cost
    return Unplaced(row.id, row.tenant, row.job_id, BatchKind(row.kind), cost)


def note(connection: Connection, new: Iterable[Unplaced]) -> None:
    """Note batches that need a place; those of a tenant are placed in this order."""
    connection.info.setdefault(_KEY, []).extend(new)


def forget(connection: Connection) -> None:
    """Forget what was noted in a transaction that was undone."""
    connection.info.pop(_KEY, None)


def settle(connection: Connection) -> None:
    """Give each batch that was noted its lane and its place there; nothing may be locked after."""
    new: list[Unplaced] = connection.info.pop(_KEY, [])
    if not new:
        return
    lanes = _lanes(connection, {one.job for one in new})
    lines: defaultdict[Line, list[Unplaced]] = defaultdict(list)
    for one in new:
        lines[Line(one.tenant, lanes[one.job], one.kind)].append(one)
        if one.due:
            ready.note(connection, lanes[one.job], one.kind)
    known = _weights(connection, {line.tenant for line in lines})
    for line, held in _locked(connection, sorted(lines)).items():
        some = lines[line]
        now, before = _as_it_is(connection, line, held)
        weight = known.get(line.tenant, 1.0)
        costs = [one.cost for one in some]
        times, share = placed(costs, share=before, now=now, weight=weight)
        _place(connection, line, zip(some, times, strict=True))
        _keep(connection, line, share)


def weights(connection: Connection) -> dict[str, float]:
    """Give the weights of the tenants that ever sent something, or were weighed, by name."""
    names = select(shares.c.tenant).distinct().order_by(shares.c.tenant)
    usual = dict.fromkeys(connection.execute(names).scalars(), 1.0)
    return dict(sorted((usual | _weights(connection)).items()))


def weigh(connection: Connection, *, tenant: str, weight: float) -> None:
    """Set the weight of a tenant: how much it gets where others want something too.

    It counts for what is made from now on.

    Raises:
        InvalidInput: No tenant can have such a name.
    """
    check_tenant(tenant)
    connection.execute(delete(tenants).where(tenants.c.tenant == tenant))
    connection.execute(insert(tenants).values(tenant=tenant, weight=weight))


def _lanes(connection: Connection, ids: Iterable[int]) -> dict[int, Lane]:
    found: dict[int, Lane] = {}
    for some in slices(list(ids)):
        rows = connection.execute(select(jobs.c.id, jobs.c.lane).where(jobs.c.id.in_(some)))
        found |= {row.id: Lane.BULK if row.lane is None else Lane(row.lane) for row in rows}
    return found


def _weights(connection: Connection, names: Collection[str] | None = None) -> dict[str, float]:
    """Read the weights that were set, of these tenants or of all."""
    statement = select(tenants)
    if names is not None:
        statement = statement.where(tenants.c.tenant.in_(names))
    return {row.tenant: row.weight for row in connection.execute(statement)}


def _locked(connection: Connection, lines: Sequence[Line]) -> Mapping[Line, Share]:
    """Lock the rows of these lines in order of their key, making those that are new."""
    rows = connection.execute(
        select(shares)
        .where(
            shares.c.tenant.in_({line.tenant for line in lines}),
            shares.c.lane.in_({line.lane for line in lines}),
            shares.c.kind.in_({line.kind for line in lines}),
        )
        .order_by(shares.c.tenant, shares.c.lane, shares.c.kind)
        .with_for_update()
    )
    found = {
        Line(row.tenant, Lane(row.lane), BatchKind(row.kind)): Share(row.began, row.ends)
        for row in rows
    }
    missing = [line for line in lines if line not in found]
    if missing:
        fresh = {"began": NO_SHARE.began, "ends": NO_SHARE.ends}
        connection.execute(insert(shares), [line._asdict() | fresh for line in missing])
    return {line: found.get(line, NO_SHARE) for line in lines}


def _as_it_is(connection: Connection, line: Line, share: Share) -> tuple[float, Share]:
    """Give the virtual time of a line, and the share of a tenant without what was cancelled.

    The virtual time is that of the farthest batch that was ever handed out: one that comes back
    after a while does not turn it back. Where cancelled ones left a gap, it is that of the first
    that waits.
    """
    times = batches.c.virtual_time
    last = times == share.began, batches.c.tenant == line.tenant
    ends = (
        _in_line(line, BatchState.READY).where(times >= 0).order_by(times),
        _in_line(line, BatchState.LEASED).order_by(times.desc()),
        _in_line(line, BatchState.DONE).order_by(times.desc()),
        _in_line(line, BatchState.READY).where(*last),
    )
    found = connection.execute(select(*(one.limit(1).scalar_subquery() for one in ends))).one()
    *known, waits = found
    now = max((time for time in known if time is not None), default=0.0)
    if share.began <= now or waits is not None:
        return now, share
    return now, refunded(share, _last(connection, line))


def _last(connection: Connection, line: Line) -> float | None:
    """The time of the last batch of a tenant that waits; it reads past those of others."""
    own = _in_line(line, BatchState.READY).where(
        batches.c.virtual_time >= 0, batches.c.tenant == line.tenant
    )
    last = own.order_by(batches.c.virtual_time.desc()).limit(1)
    found = connection.execute(last).first()
    return None if found is None else found.virtual_time


def _in_line(line: Line, state: BatchState) -> Select[tuple[float]]:
    """Select times by the index that claims read."""
    return select(batches.c.virtual_time).where(
        batches.c.state == state, batches.c.kind == line.kind, batches.c.lane == line.lane
    )


def _place(connection: Connection, line: Line, turns: Iterable[tuple[Unplaced, float]]) -> None:
    rows = [{"id": one.batch, "virtual_time": time} for one, time in turns]
    update_each(connection, batches, rows, lane=line.lane)


def _keep(connection: Connection, line: Line, share: Share) -> None:
    connection.execute(
        update(shares)
        .where(
            shares.c.tenant == line.tenant,
            shares.c.lane == line.lane,
            shares.c.kind == line.kind,
        )
        .values(began=share.began, ends=share.ends)
    )
