"""Rows that each get values of their own, written by one statement where the database can."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Connection,
    Table,
    TableValuedAlias,
    Update,
    any_,
    bindparam,
    column,
    func,
    insert,
    select,
    update,
)


def update_each(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], **alike: object
) -> None:
    """Write into rows what is given for each: their `id`, and the same columns for all.

    No row may come twice. They are written in any order: who calls has locked or made them.

    Args:
        connection: Of the transaction.
        table: Whose key is `id`.
        rows: By name of column.
        alike: What all of these rows get.
    """
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        lists = {f"new_{name}": [row[name] for row in rows] for name in names}
        connection.execute(_at_once(table, names).values(**alike), lists)
    else:
        given = [{f"new_{name}": row[name] for name in names} for row in rows]
        connection.execute(_one_by_one(table, names).values(**alike), given)


def insert_each(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], **alike: object
) -> None:
    """Insert rows; `alike` is what all of them get."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table).values(**alike), rows)
        return
    names = tuple(rows[0])
    lists, new = _joined(table, names)
    given = select(*(new.c[name] for name in names), *alike.values())
    connection.execute(
        insert(table).from_select([*names, *alike], given),
        {bind.key: [row[name] for row in rows] for name, bind in lists.items()},
    )


@cache
def _at_once(table: Table, names: tuple[str, ...]) -> Update:
    """Join the rows with a list for each column: psycopg would send a statement for each row.

    The ids are asked for once more, or a table that is not large would be read from end to end.
    """
    lists, new = _joined(table, names)
    values = {name: new.c[name] for name in names if name != "id"}
    asked = table.c.id == any_(lists["id"])
    return update(table).where(table.c.id == new.c.id, asked).values(values)


@cache
def _joined(
    table: Table, names: tuple[str, ...]
) -> tuple[dict[str, BindParameter[Any]], TableValuedAlias]:
    """Give a parameter for each column, its values, and the rows that they make together."""
    types = {name: table.c[name].type for name in names}
    lists = {
        name: bindparam(f"new_{name}", type_=ARRAY(types[name], dimensions=1)) for name in names
    }
    columns = (column(name, types[name]) for name in names)
    return lists, func.unnest(*lists.values()).table_valued(*columns).render_derived(name="new")


@cache
def _one_by_one(table: Table, names: tuple[str, ...]) -> Update:
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    return update(table).where(table.c.id == new.pop("id")).values(new)
