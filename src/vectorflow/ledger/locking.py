"""Locks in order of id, on every database."""

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, bindparam, select

from vectorflow.ledger.columns import Id
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import BY_ID

_SOME = bindparam("some", type_=Id, expanding=True)

LOOKED_AT = 8
"""Rows of which `one_free` locks the first that it can."""


class Locking:
    """Locks rows of a table in order of id; `which` may have parameters."""

    def __init__(
        self, table: Table, which: ColumnElement[bool], *, key_share: bool = False
    ) -> None:
        locking = select(table).where(which).order_by(table.c.id)
        self._locking = locking.with_for_update(key_share=key_share)
        self._looking = select(table.c.id).where(which).order_by(table.c.id)
        self._by_id = self._locking.with_hint(table, BY_ID, "mariadb").where(table.c.id.in_(_SOME))

    def rows(self, connection: Connection, **parameters: object) -> list[Row[Any]]:
        """Lock, and give them as they are then."""
        # MariaDB locks rows as it reads them, and only then puts them in order: look first.
        if connection.dialect.name == "mariadb":
            return [row for some in self.slices(connection, **parameters) for row in some]
        return list(connection.execute(self._locking, parameters))

    def slices(self, connection: Connection, **parameters: object) -> Iterator[list[Row[Any]]]:
        """Look for rows, and lock those that are still meant, some at a time."""
        ids = connection.execute(self._looking, parameters).scalars().all()
        for some in slices(ids):
            yield list(connection.execute(self._by_id, {**parameters, "some": some}))


def locked_rows(connection: Connection, table: Table, which: ColumnElement[bool]) -> list[Row[Any]]:
    """Lock rows of a table in order of id, and give them as they are then."""
    return Locking(table, which).rows(connection)


def locked_slices(
    connection: Connection, table: Table, which: ColumnElement[bool], *, key_share: bool = False
) -> Iterator[list[Row[Any]]]:
    """Look for rows, and lock those that are still meant in order of id, some at a time."""
    return Locking(table, which, key_share=key_share).slices(connection)


def free_ids(
    connection: Connection, table: Table, which: ColumnElement[bool], ids: Collection[int]
) -> list[int]:
    """Lock those of these rows that are still meant and that nobody else has locked."""
    by_id = select(table.c.id).with_hint(table, BY_ID, "mariadb").where(which, table.c.id.in_(ids))
    return list(connection.execute(by_id.with_for_update(skip_locked=True)).scalars())


def one_free(
    connection: Connection, table: Table, which: ColumnElement[bool], *order: ColumnElement[Any]
) -> int | None:
    """Lock the first row that nobody else has locked, and no other; gives its id.

    Waits for nobody. Where others hold the first few, it is none.
    """
    first = select(table.c.id).where(which).order_by(*order).limit(LOOKED_AT)
    for key in connection.execute(first).scalars().all():
        if free_ids(connection, table, which, [key]):
            return int(key)
    return None
