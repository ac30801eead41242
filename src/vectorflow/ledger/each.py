"""Rows that each get values of their own, written by one statement where the database can."""

from collections.abc import Mapping, Sequence
from functools import cache

from sqlalchemy import ARRAY, Connection, Table, Update, any_, bindparam, column, func, update


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


@cache
def _at_once(table: Table, names: tuple[str, ...]) -> Update:
    """Join the rows with a list for each column: psycopg would send a statement for each row.

    The ids are asked for once more, or a table that is not large would be read from end to end.
    """
    types = {name: table.c[name].type for name in names}
    lists = {
        name: bindparam(f"new_{name}", type_=ARRAY(types[name], dimensions=1)) for name in names
    }
    columns = (column(name, types[name]) for name in names)
    new = func.unnest(*lists.values()).table_valued(*columns).render_derived(name="new")
    values = {name: new.c[name] for name in names if name != "id"}
    asked = table.c.id == any_(lists["id"])
    return update(table).where(table.c.id == new.c.id, asked).values(values)


@cache
def _one_by_one(table: Table, names: tuple[str, ...]) -> Update:
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    return update(table).where(table.c.id == new.pop("id")).values(new)
