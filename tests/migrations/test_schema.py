import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, insert, inspect, text

from vectorflow.errors import InvalidSetting
from vectorflow.ledger import claims, schema
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import identity, metadata
from vectorflow.testing.ledgers import TABLES, dump, rows

UPGRADE = """
import sys
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
print("ready", flush=True)
sys.stdin.readline()
database = Database(sys.argv[1])
schema.upgrade(database)
database.close()
"""


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url: str = request.getfixturevalue(f"{request.param}_database")
    return url


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    database = Database(empty_url)
    yield database
    database.close()


def test_a_ledger_that_was_upgraded_from_nothing_is_the_one_in_the_code(empty: Database) -> None:
    schema.upgrade(empty)

    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {
            *metadata.tables.keys(),
            "alembic_version",
        }
    assert set(TABLES) == metadata.tables.keys()


def test_a_difference_between_code_and_migrations_would_be_seen(empty: Database) -> None:
    schema.upgrade(empty)
    (by_state,) = [
        index for index in metadata.tables["jobs"].indexes if index.name == "ix_jobs_state"
    ]
    empty.write_now(by_state.drop)

    with empty.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)

    assert [change[0] for change in found] == ["add_index"]


def test_upgrading_again_changes_nothing(empty: Database) -> None:
    schema.upgrade(empty)
    before = dump(empty)
    name = empty.read_now(claims.ledger_id)

    schema.upgrade(empty)

    assert dump(empty) == before
    assert empty.read_now(claims.ledger_id) == name
    schema.check(empty)


def test_processes_that_upgrade_at_once_make_one_ledger(empty: Database, empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    schema.check(empty)
    assert rows(empty, "SELECT count(*) FROM identity") == [(1,)]


def test_a_database_without_a_ledger_is_refused(empty: Database) -> None:
    with pytest.raises(InvalidSetting, match="no ledger yet; run `vectorflow db upgrade`"):
        schema.check(empty)


def test_tables_of_something_else_are_neither_used_nor_touched(empty: Database) -> None:
    make = text("CREATE TABLE jobs (title VARCHAR(10))")
    empty.write_now(lambda connection: connection.execute(make))

    with pytest.raises(InvalidSetting, match="no ledger: it has a table 'jobs'"):
        schema.upgrade(empty)

    assert rows(empty, "SELECT title FROM jobs") == []
    assert empty.read_now(schema.current_revision) is None


def test_an_older_ledger_says_how_to_upgrade_it(empty: Database) -> None:
    schema.upgrade(empty)
    _set_revision(empty, "0000")

    with pytest.raises(InvalidSetting, match=r"schema 0000, this release needs .* stop what runs"):
        schema.check(empty)


def test_a_ledger_of_the_second_schema_keeps_its_documents(empty: Database) -> None:
    _upgrade_to(empty, "0002")
    columns = "tenant, index_id, scope, external_id, last_version"
    document = f"INSERT INTO documents ({columns}) VALUES ('default', 1, '', 'a', 0)"  # noqa: S608
    empty.write_now(lambda connection: connection.execute(text(document)))
    with pytest.raises(InvalidSetting, match="schema 0002, this release needs"):
        schema.check(empty)

    schema.upgrade(empty)

    schema.check(empty)
    assert rows(empty, "SELECT external_id, parent_id FROM documents") == [("a", None)]
    with empty.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_migration_that_breaks_leaves_nothing_behind(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "identity", metadata.tables["jobs"])  # what comes after it breaks

    with pytest.raises(AttributeError):
        schema.upgrade(empty)

    if empty.engine.dialect.name != "mariadb":  # which cannot undo what makes tables
        with empty.engine.connect() as connection:
            assert inspect(connection).get_table_names() == []
    monkeypatch.undo()
    schema.upgrade(empty)
    schema.check(empty)


def test_an_upgrade_that_was_cut_short_goes_on_with_what_is_left(mariadb_database: str) -> None:
    database = Database(mariadb_database)
    cuts = 0
    while cuts < 100:
        try:
            _upgrade_and_die(database, after=5 * (cuts + 1))
            break
        except ZeroDivisionError:
            cuts += 1

    assert cuts > 3
    schema.check(database)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def _upgrade_and_die(database: Database, *, after: int) -> None:
    """Upgrade, and die before a statement that changes a table."""
    left = iter(range(after, -1, -1))

    def die(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("CREATE", "ALTER")):
            _ = 1 / next(left)

    event.listen(database.engine, "before_cursor_execute", die)
    try:
        schema.upgrade(database)
    finally:
        event.remove(database.engine, "before_cursor_execute", die)


def _upgrade_to(database: Database, revision: str) -> None:
    """Make the ledger of an older release."""

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.execute(insert(identity).values(ledger="older"))

    database.write_now(upgrade)


def _set_revision(database: Database, revision: str) -> None:
    statement = text("UPDATE alembic_version SET version_num = :revision")
    database.write_now(lambda connection: connection.execute(statement, {"revision": revision}))
