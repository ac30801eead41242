"""Locks in order of id, on every database."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import BY_ID

LOOKED_AT = 8
"""Rows of which `one_free` locks the first that it can."""


def locked_rows(connection: Connection, table: Table, which: ColumnElement[bool]) -> list[Row[Any]]:
    """Lock rows of a table in order of id, and give them.

    MariaDB locks rows as it reads them, and only then puts them in order: there they are looked for
    before, and may have changed until they are locked.
    """
    if connection.dialect.name == "mariadb":
        return [row for some in locked_slices(connection, table, which) for row in some]
    statement = select(table).where(which).order_by(table.c.id).with_for_update()
    return list(connection.execute(statement))


def locked_slices(
    connection: Connection, table: Table, which: ColumnElement[bool], *, key_share: bool = False
) -> Iterator[list[Row[Any]]]:
    """Look for rows, and lock them in order of id, some at a time; they may have changed since."""
    ids = connection.execute(select(table.c.id).where(which).order_by(table.c.id)).scalars().all()
    by_id = select(table).with_hint(table, BY_ID, "mariadb").order_by(table.c.id)
    locking = by_id.with_for_update(key_share=key_share)
    for some in slices(ids):
        yield list(connection.execute(locking.where(table.c.id.in_(some))))


def one_free(
    connection: Connection, table: Table, which: ColumnElement[bool], *order: ColumnElement[Any]
) -> int | None:
    """Lock the first row that nobody else has locked, and no other; gives its id.

    Waits for nobody. Where others hold the first few, it is none.
    """
    first = select(table.c.id).where(which).order_by(*order).limit(LOOKED_AT)
    by_id = select(table.c.id).with_hint(table, BY_ID, "mariadb").where(which)
    for key in connection.execute(first).scalars().all():
        free = by_id.where(table.c.id == key).with_for_update(skip_locked=True)
        if connection.execute(free).first() is not None:
            return int(key)
    return None
