"""A store in PostgreSQL that refuses us: no document fails, and what was deleted does not stay."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.exporting import add, begin, embed, end, opened, until, until_ended, working
from vectorflow.adapters._pgvector_errors import translated
from vectorflow.adapters.vector_stores.pgvector import PgVectorStore
from vectorflow.cli.checks import examine
from vectorflow.domain.jobs import JobState
from vectorflow.domain.retries import MAX_ATTEMPTS
from vectorflow.errors import IndexRefused, KeyRefused, Unavailable, VectorFlowError
from vectorflow.flow.engine import Engine
from vectorflow.ledger import submission
from vectorflow.ledger.database import Database
from vectorflow.testing.ledgers import rows
from vectorflow.testing.records import EAST, INDEX, MARKER, record_ids, records_of
from vectorflow.testing.workplace import Workplace

HASTE = {"retries.longest_pause": 0.1}

PASSWORD = "pass-word"  # noqa: S105 - of a user that a test makes


@dataclass(frozen=True, slots=True)
class Account:
    """A user of a database of its own, and who may let the server refuse it."""

    admin: str
    role: str
    url: str

    def change(self, *statements: str) -> None:
        """Change what this user may; its sessions end, as they would not notice."""
        names = {"role": self.role, "database": urlsplit(self.admin).path[1:]}
        with psycopg.connect(self.admin, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.format(**names).encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                [self.role],
            )


@pytest.fixture
def account(postgres_database: str) -> Iterator[Account]:
    role = f"vectorflow_{uuid.uuid4().hex[:12]}"
    place = urlsplit(postgres_database)
    host = place.netloc.rpartition("@")[2]
    url = place._replace(netloc=f"{role}:{PASSWORD}@{host}").geturl()
    made = Account(admin=postgres_database, role=role, url=url)
    made.change(
        "CREATE EXTENSION vector",
        f"CREATE ROLE {{role}} LOGIN PASSWORD '{PASSWORD}'",
        "GRANT CREATE ON SCHEMA public TO {role}",
    )
    yield made
    made.change("DROP OWNED BY {role} CASCADE", "DROP ROLE {role}")


REFUSALS: list[tuple[str, type[VectorFlowError], str]] = [
    ("ALTER ROLE {role} NOLOGIN", KeyRefused, "check user, password and database"),
    ('REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC', KeyRefused, "check user, password"),
    ("REVOKE ALL ON docs FROM {role}", KeyRefused, "lacks a right"),
    ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", KeyRefused, "grant USAGE"),
    ("ALTER ROLE {role} SET default_transaction_read_only = on", Unavailable, "read-only"),
    ("ALTER TABLE docs ADD COLUMN mine text", IndexRefused, "other columns"),
    ("ALTER TABLE docs ALTER COLUMN version TYPE smallint", IndexRefused, "other columns"),
    ("ALTER TABLE docs DROP CONSTRAINT docs_pkey", IndexRefused, "not as VectorFlow made it"),
]


@pytest.mark.parametrize(("statement", "error", "says"), REFUSALS)
async def test_what_no_record_is_to_blame_for_is_told_apart(
    account: Account, statement: str, error: type[VectorFlowError], says: str
) -> None:
    async with PgVectorStore(account.url) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
    account.change(statement)

    async with PgVectorStore(account.url) as store:
        with pytest.raises(error, match=says) as refused:
            await store.upsert(INDEX, records_of([EAST]))
    assert type(refused.value) is error
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError('FATAL:  password authentication failed for user "me"'),
        psycopg.OperationalError('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me"'),
        psycopg.OperationalError("fe_sendauth: no password supplied"),
        psycopg.OperationalError("FATAL:  connection requires a valid client certificate"),
        psycopg.errors.InvalidPassword("password authentication failed"),
        psycopg.errors.InvalidCatalogName("no such database"),
    ],
)
def test_each_way_to_refuse_a_login_is_known(error: psycopg.Error) -> None:
    with pytest.raises(KeyRefused, match="check user, password and database"), translated(INDEX):
        raise error


async def test_a_user_who_sees_no_table_does_not_take_records_for_deleted(account: Account) -> None:
    async with PgVectorStore(account.url) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
        account.change("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        with pytest.raises(Unavailable):
            await store.marker(INDEX)  # its session has ended

        with pytest.raises(KeyRefused, match="may use no schema"):
            await store.marker(INDEX)
        with pytest.raises(KeyRefused, match="may use no schema"):
            await store.delete(INDEX, record_ids(1))

        account.change("GRANT USAGE ON SCHEMA public TO PUBLIC")
    async with PgVectorStore(account.url) as store:
        assert len(await store.fetch(INDEX, record_ids(1))) == 1


async def begun(engine: Engine) -> tuple[int, int]:
    """Two jobs of which nothing is worked on yet: one adds and changes, the other deletes."""
    await embed(engine, {"changed": "The tide turns at noon.", "gone": "Ring the bell."})
    written = await begin(engine)
    await add(engine, written, {"changed": "The tide turns at night.", "new": "Trim the wick."})
    await end(engine, written)
    deleted = await begin(engine)
    delete = partial(submission.delete_documents, job=deleted, gone=["gone"], zombie_seconds=0.0)
    await engine.parts.database.write(delete)
    await end(engine, deleted)
    return written, deleted


def all_paused(engine: Engine) -> bool:
    query = "SELECT count(*) FROM jobs WHERE state = 'paused'"
    return rows(engine.parts.database, query) == [(2,)]


async def nothing_is_lost(engine: Engine, *jobs: int) -> None:
    """Demand that these jobs are completed, and the store holds what is live and nothing else."""
    views = [await engine.job(job) for job in jobs]
    assert {(view.state, view.docs_failed) for view in views} == {(JobState.COMPLETED, 0)}
    report = await engine.parts.reconcile()
    assert (report.compared[-1], report.differences) == ("default", ())


async def test_jobs_wait_for_a_login_that_is_refused_and_end_well_once_it_is_mended(
    tmp_path: Path, account: Account, place_of: Callable[[Database], Workplace]
) -> None:
    async with opened(tmp_path, store=account.url, **HASTE) as engine:
        jobs = await begun(engine)
        account.change("ALTER ROLE {role} NOLOGIN")
        async with working(engine.parts):
            await until(lambda: all_paused(engine))

        for job in jobs:
            view = await engine.job(job)
            assert (view.state, view.docs_failed) == (JobState.PAUSED, 0)
            assert view.paused is not None
            assert view.paused["reason"] == "key_refused"
            assert "check user, password and database" in str(view.paused["fix"])
        findings = {one.part: one for one in await examine(engine.parts.settings)}
        assert "refused the connection" in findings["clean-up"].text

        account.change("ALTER ROLE {role} LOGIN")
        place_of(engine.parts.database).pass_time()
        for job in jobs:
            await engine.resume(job)
        for job in jobs:
            await until_ended(engine.parts, job)
        await nothing_is_lost(engine, *jobs)


def both_wait_for_long(engine: Engine) -> bool:
    """Whether the store was away for longer than all tries of a batch that fails by itself."""
    tries = f"SELECT count(*) FROM buckets WHERE failures > {2 * MAX_ATTEMPTS}"  # noqa: S608 - ours
    waiting = "SELECT count(DISTINCT job_id) FROM batches WHERE bucket_id IS NOT NULL"
    database = engine.parts.database
    return (rows(database, tries), rows(database, waiting)) == ([(1,)], [(2,)])


async def test_a_server_that_is_read_only_is_waited_for(tmp_path: Path, account: Account) -> None:
    async with opened(tmp_path, store=account.url, **HASTE) as engine:
        jobs = await begun(engine)
        account.change("ALTER ROLE {role} SET default_transaction_read_only = on")
        async with working(engine.parts):
            await until(lambda: both_wait_for_long(engine))
            for job in jobs:
                view = await engine.job(job)
                assert (view.state, view.docs_failed) == (JobState.RUNNING, 0)
                assert view.waiting is not None
                assert "read-only" in view.waiting.message

            account.change("ALTER ROLE {role} RESET default_transaction_read_only")
            ended = "SELECT count(*) FROM jobs WHERE state = 'running'"
            await until(lambda: rows(engine.parts.database, ended) == [(0,)])
        await nothing_is_lost(engine, *jobs)
