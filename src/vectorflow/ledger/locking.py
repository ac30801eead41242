"""Locks in order of id, on every database."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, select

from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import BY_ID


def locked_rows(connection: Connection, table: Table, which: ColumnElement[bool]) -> list[Row[Any]]:
    """Lock rows of a table in order of id, and give them."""
    statement = select(table).where(which).order_by(table.c.id).with_for_update()
    if connection.dialect.name != "mariadb":
        return list(connection.execute(statement))
    return _by_id(connection, table, which, statement)


def _by_id(
    connection: Connection, table: Table, which: ColumnElement[bool], statement: Select[Any]
) -> list[Row[Any]]:
    """Look first: MariaDB locks rows as it reads them, and only then puts them in order."""
    ids = connection.execute(select(table.c.id).where(which).order_by(table.c.id)).scalars().all()
    by_id = statement.with_hint(table, BY_ID, "mariadb")
    return [
        row for some in slices(ids) for row in connection.execute(by_id.where(table.c.id.in_(some)))
    ]
