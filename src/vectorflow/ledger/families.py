"""Documents inside of documents: what is attached to which, at any depth."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, FromClause, Row, or_, select

from vectorflow.ledger.locking import locked_rows
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, versions


def is_kept_in(table: FromClause) -> ColumnElement[bool]:
    """Whether a row of documents is not deleted, or about to come back."""
    return or_(table.c.deleted_at.is_(None), table.c.open_version.is_not(None))


def is_kept(document: Row[Any]) -> bool:
    """Tell the same of a row at hand; nobody has one that was only just made."""
    decided = document.deleted_at is None or document.open_version is not None
    return bool(document.last_version and decided)


def inside(outers: Sequence[int]) -> CTE:
    """Documents inside of these at any depth; columns `root`, one of these, and `id`."""
    attached = (
        select(documents.c.parent_id.label("root"), documents.c.id)
        .where(documents.c.parent_id.in_(outers))
        .cte("inside", recursive=True)
    )
    deeper = (
        select(attached.c.root, documents.c.id)
        .join_from(attached, documents, documents.c.parent_id == attached.c.id)
        .prefix_with("STRAIGHT_JOIN", dialect="mariadb")  # or it reads all documents
    )
    return attached.union(deeper)


def ids_inside(connection: Connection, outers: Iterable[int]) -> set[int]:
    """Ids of the documents inside of these, at any depth."""
    found: set[int] = set()
    for some in slices(list(outers)):
        found.update(connection.execute(select(inside(some).c.id)).scalars())
    return found


def taken_since(connection: Connection, outers: Sequence[int]) -> set[int]:
    """Those whose attachments were brought in line with a version that never went live.

    What is attached to them does not fit the live version then.
    """
    live, newer = versions.alias("live"), versions.alias("newer")
    found: set[int] = set()
    for some in slices(outers):
        taken = (
            select(newer.c.document_id)
            .join(documents, documents.c.id == newer.c.document_id)
            .join(live, live.c.id == documents.c.live_version)
            .where(newer.c.document_id.in_(some), newer.c.number > live.c.number)
            .where(newer.c.parts_total.is_not(None), newer.c.blob.is_not(None))
            .distinct()
        )
        found.update(connection.execute(taken).scalars())
    return found


def with_attached(connection: Connection, outers: Sequence[int]) -> set[int]:
    """Those that something is or was attached to."""
    found: set[int] = set()
    for some in slices(outers):
        parents = select(documents.c.parent_id).where(documents.c.parent_id.in_(some))
        found.update(connection.execute(parents.distinct()).scalars())
    return found


def locked_inside(connection: Connection, outers: Sequence[int]) -> list[Row[Any]]:
    """Lock the documents attached to these, as they are now.

    Those that are deleted are left out, as are those whose deletion waits: it stays that of the job
    that called for it.
    """
    found: list[Row[Any]] = []
    for some in slices(sorted(outers)):
        attached = documents.c.parent_id.in_(some) & is_kept_in(documents)
        found += locked_rows(connection, documents, attached)
    doomed: set[int] = set()
    for some in slices([row.next_version for row in found if row.next_version]):
        deletions = versions.c.id.in_(some) & versions.c.blob.is_(None)
        doomed.update(connection.execute(select(versions.c.id).where(deletions)).scalars())
    return [row for row in found if row.next_version not in doomed]


def lock_together(connection: Connection, ids: Iterable[int]) -> None:
    """Lock documents in order of id, before what needs some of them locks them one by one."""
    for some in slices(sorted(set(ids))):
        connection.execute(
            select(documents.c.id)
            .where(documents.c.id.in_(some))
            .order_by(documents.c.id)
            .with_for_update()
        )
