"""A newer release upgraded the ledger: what this one, the older of the two, may still do there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from tests.migrations.next_release import CONTRACTING, REVISION, upgrade_by_next_release
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import InvalidSetting
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.testing.ledgers import TABLES, broken_laws, dump, rows
from vectorflow.testing.workplace import KINDS, PretendWorker, Workplace, claim

WHOLE = [*TABLES, "alembic_version"]

PlaceOf = Callable[[Database], Workplace]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    found: str = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A ledger of this release."""
    made = Database(url)
    schema.upgrade(made)
    yield made
    made.close()


@pytest.fixture
def started_again(url: str) -> Iterator[Database]:
    """Another process of this release."""
    made = Database(url)
    yield made
    made.close()


async def test_work_that_was_under_way_goes_on_and_so_does_a_process_that_starts_again(
    database: Database, started_again: Database, url: str, tmp_path: Path, place_of: PlaceOf
) -> None:
    before = place_of(database)
    worker = PretendWorker(before.worker("before"))
    first = before.submit({"a": "one", "b": "two"})
    under_way = await claim(worker.work, BatchKind.EXTRACT)

    upgrade_by_next_release(url, tmp_path)

    assert all(await worker.work.finish([worker.result(lease) for lease in under_way]))
    database.close()
    schema.check(started_again)
    started_again.write_now(schema.demand_ready)
    place = place_of(started_again)
    second = place.submit({"a": "another", "c": "three"})
    third = place.delete("b")
    await PretendWorker(place.worker("again")).run(*KINDS)
    states = {place.job(job).state for job in (first, second, third)}
    assert states == {JobState.COMPLETED}
    assert broken_laws(started_again, all_done=True) == {}
    assert rows(started_again, "SELECT DISTINCT next_count FROM jobs") == [(7,)]


def test_an_upgrade_by_the_older_release_finds_it_done(
    database: Database, url: str, tmp_path: Path
) -> None:
    upgrade_by_next_release(url, tmp_path)
    before = dump(database, WHOLE)

    schema.upgrade(database)

    assert dump(database, WHOLE) == before
    assert database.read_now(schema.current_revision) == REVISION


def test_a_release_that_would_miss_something_is_shut_out(
    database: Database, url: str, tmp_path: Path
) -> None:
    upgrade_by_next_release(url, tmp_path, CONTRACTING, oldest=REVISION)
    before = dump(database, WHOLE)

    for attempt in (schema.check, schema.upgrade):
        with pytest.raises(InvalidSetting, match="9999, newer than this release") as refused:
            attempt(database)
        assert refused.value.fix == "install the newer VectorFlow"
    with pytest.raises(InvalidSetting, match="9999, newer than this release"):
        database.write_now(schema.demand_ready)

    assert dump(database, WHOLE) == before


def test_it_is_shut_out_before_the_first_step_that_it_would_miss(
    database: Database, url: str, tmp_path: Path
) -> None:
    cut_short = f"{CONTRACTING.strip()}\n    1 / 0"
    with pytest.raises(ZeroDivisionError):
        upgrade_by_next_release(url, tmp_path, cut_short, oldest=REVISION)

    if database.engine.dialect.name == "mariadb":  # which commits each of the steps
        with pytest.raises(InvalidSetting, match="newer than this release"):
            schema.check(database)
    else:
        schema.check(database)


def test_a_ledger_that_tells_nothing_is_for_the_newer_release_only(database: Database) -> None:
    """As one whose first upgrade to a telling schema was cut short."""
    _execute(database, f"UPDATE alembic_version SET version_num = '{REVISION}'")  # noqa: S608
    _execute(database, "UPDATE identity SET oldest = NULL")

    with pytest.raises(InvalidSetting, match="9999, newer than this release"):
        schema.check(database)


def test_the_oldest_schema_is_raised_and_never_lowered(database: Database) -> None:
    _execute(database, "UPDATE identity SET oldest = '0001'")
    schema.upgrade(database)
    raised = rows(database, "SELECT oldest FROM identity")
    newest = schema.newest_revision()
    _execute(database, f"UPDATE identity SET oldest = '{newest}'")  # noqa: S608 - our own

    schema.upgrade(database)

    assert raised == [(schema.OLDEST,)]
    assert rows(database, "SELECT oldest FROM identity") == [(newest,)]


@pytest.mark.parametrize(
    ("oldest", "fix"),
    [("0008", "run `vectorflow db upgrade`"), ("9999", "stop what runs of older releases, then")],
)
def test_who_is_to_upgrade_is_told_whether_to_stop_the_release_before(
    database: Database, monkeypatch: pytest.MonkeyPatch, oldest: str, fix: str
) -> None:
    monkeypatch.setattr(schema, "newest_revision", lambda: REVISION)
    monkeypatch.setattr(schema, "OLDEST", oldest)

    with pytest.raises(InvalidSetting) as refused:
        schema.check(database)

    assert refused.value.fix is not None
    assert refused.value.fix.startswith(fix)


def test_the_step_of_these_tests_does_all_that_a_step_may(
    database: Database, url: str, tmp_path: Path
) -> None:
    before = database.read_now(_columns)

    upgrade_by_next_release(url, tmp_path)

    after = database.read_now(_columns)
    new = {"next_note", "next_count"}
    assert {name: after[name] - columns for name, columns in before.items()} == dict.fromkeys(
        before, new
    )


def _columns(connection: Connection) -> dict[str, set[str]]:
    inspector = inspect(connection)
    return {
        name: {column["name"] for column in inspector.get_columns(name)}
        for name in inspector.get_table_names()
        if name in TABLES
    }


def _execute(database: Database, statement: str) -> None:
    database.write_now(lambda connection: connection.execute(text(statement)))
