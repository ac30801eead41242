"""Each step of the schema leaves what the release before it needs: expand first, contract later.

While `vectorflow db upgrade` runs, API and workers of the release before go on, and some may start
a statement a moment after it. So a step may add what nobody has to fill in, and nothing else,
unless it shuts them out.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, inspect, text

from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

Tables = dict[str, dict[str, Any]]
"""What an inspector says of each table: its columns by name, its unique sets, its key."""

CONTRACTING: frozenset[str] = frozenset()
"""Steps that take away what only code older than `schema.OLDEST` needs."""

PLAIN: dict[type, object] = {
    int: 1, float: 1.0, bool: False, str: "x", dict: {}, object: {}, bytes: b"x",
    Decimal: Decimal(1),
}  # fmt: skip


def config(connection: Connection | None = None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(schema.MIGRATIONS))
    made.attributes["connection"] = connection
    return made


STEPS = [
    (one.down_revision, one.revision)
    for one in reversed(list(ScriptDirectory.from_config(config()).walk_revisions()))
    if one.down_revision
]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    else:
        made = Database(request.getfixturevalue(f"{request.param}_database"))
    yield made
    made.close()


def upgrade(database: Database, revision: str) -> None:
    database.write_now(lambda connection: command.upgrade(config(connection), revision))


def tables_of(database: Database) -> Tables:
    def look(connection: Connection) -> Tables:
        inspector = inspect(connection)
        return {
            name: {
                "columns": {column["name"]: column for column in inspector.get_columns(name)},
                "unique": {
                    tuple(index["column_names"])
                    for index in inspector.get_indexes(name)
                    if index["unique"]
                }
                | {tuple(one["column_names"]) for one in inspector.get_unique_constraints(name)},
                "key": tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
            }
            for name in inspector.get_table_names()
            if name != "alembic_version"
        }

    return database.read_now(look)


def hindrances(before: Tables, after: Tables) -> list[str]:
    """Say what a step did that code of the schema before cannot live with."""
    found = [f"{name} is gone" for name in before.keys() - after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        found += [
            f"{name}.{column} is gone" for column in old["columns"].keys() - new["columns"].keys()
        ]
        found += [
            f"{name}.{column} is new and has to be given"
            for column in new["columns"].keys() - old["columns"].keys()
            if not new["columns"][column]["nullable"] and new["columns"][column]["default"] is None
        ]
        found += [
            f"{name}.{column} was {shape(old, column)}, is {shape(new, column)}"
            for column in old["columns"].keys() & new["columns"].keys()
            if shape(old, column) != shape(new, column)
        ]
        found += [
            f"{name} must be unique by {columns}" for columns in new["unique"] - old["unique"]
        ]
        found += [f"{name} has another key"] if old["key"] != new["key"] else []
    return found


def shape(table: dict[str, Any], column: str) -> str:
    one = table["columns"][column]
    return f"{one['type']} {'NULL' if one['nullable'] else 'NOT NULL'}"


def insert_as_before(database: Database, before: Tables) -> None:
    """Write a row into each table, of which only the columns before the step are known."""

    def write(connection: Connection) -> None:
        for name, table in before.items():
            columns = [Column(key, one["type"]) for key, one in table["columns"].items()]
            own = Table(name, MetaData(), *columns)
            given = {column.name: PLAIN[column.type.python_type] for column in columns}
            connection.execute(own.insert().values(**given))

    database.write_now(write)


@pytest.mark.parametrize(
    ("before", "after"),
    [(a, b) for a, b in STEPS if b not in CONTRACTING],
    ids=str,
)
def test_a_step_leaves_what_the_release_before_it_needs(
    database: Database, before: str, after: str
) -> None:
    upgrade(database, before)
    old = tables_of(database)
    upgrade(database, after)

    assert hindrances(old, tables_of(database)) == []
    insert_as_before(database, old)


@pytest.mark.parametrize(
    ("statement", "hindrance"),
    [
        ("ALTER TABLE jobs DROP COLUMN error", "jobs.error is gone"),
        ("DROP TABLE duties", "duties is gone"),
        ("ALTER TABLE jobs ADD needed INTEGER DEFAULT 1 NOT NULL", None),
        ("ALTER TABLE jobs ADD needed INTEGER", None),
        ("CREATE UNIQUE INDEX one ON jobs (created_at)", "must be unique by ('created_at',)"),
        ("ALTER TABLE jobs ADD needed INTEGER NOT NULL", "jobs.needed is new and has to be given"),
        ("ALTER TABLE jobs ALTER error SET NOT NULL", "jobs.error was JSON NULL"),
        ("ALTER TABLE jobs ALTER docs_done TYPE BIGINT", "jobs.docs_done was INTEGER"),
    ],
)
def test_what_a_step_may_not_do_would_be_seen(
    postgres_database: str, statement: str, hindrance: str | None
) -> None:
    database = Database(postgres_database)
    upgrade(database, "head")
    old = tables_of(database)
    database.write_now(lambda connection: connection.execute(text(statement)))

    found = hindrances(old, tables_of(database))

    assert len(found) == (hindrance is not None)
    assert hindrance is None or hindrance in found[0]
    database.close()


def test_there_is_a_step_for_each_revision_but_the_first() -> None:
    assert len(STEPS) == len(list((schema.MIGRATIONS / "versions").glob("[0-9]*.py"))) - 1


def test_releases_that_a_step_leaves_nothing_are_shut_out() -> None:
    assert max(CONTRACTING, default="0001") <= schema.OLDEST <= schema.newest_revision()
    assert {revision for step in STEPS for revision in step} >= {*CONTRACTING, schema.OLDEST}
