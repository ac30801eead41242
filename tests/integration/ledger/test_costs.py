"""How many statements the ledger needs, and that the frequent ones read only what they give."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event

from vectorflow.domain.jobs import BatchKind
from vectorflow.ledger import held, uploads
from vectorflow.ledger.database import Database
from vectorflow.ports.work import Finished
from vectorflow.testing.ledgers import rows
from vectorflow.testing.work_outages import away
from vectorflow.testing.workplace import (
    KINDS,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
    document,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

Statement = tuple[str, Any]


@contextmanager
def statements(database: Database) -> Iterator[list[Statement]]:
    """Write down what is sent meanwhile."""
    sent: list[Statement] = []

    def note(
        _connection: Connection, _cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        if "batches" in statement or " INTO " in statement or "UPDATE" in statement:
            sent.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine, "before_cursor_execute", note)


def plan(database: Database, statement: Statement) -> str:
    word = "EXPLAIN QUERY PLAN" if database.embedded else "EXPLAIN"
    text, parameters = statement

    def explain(connection: Connection) -> str:
        found = connection.exec_driver_sql(f"{word} {text}", parameters).mappings().all()
        said = [{"type": "", "table": "", "key": "", **row} for row in found]
        return "\n".join(
            f"{row['type']} {row['table']} {row['key']} {list(row.values())[-1]}" for row in said
        )

    return database.read_now(explain)


def fill(database: Database, count: int, kind: BatchKind = EXTRACT) -> None:
    """Put ready batches of one kind before all others, and many that are done."""
    query = f"""INSERT INTO batches (tenant, job_id, index_id, pipeline_id, kind, state, lane,
            virtual_time, run_at, lease_epoch, attempt, lost, vectors, version_id)
        SELECT 'default', 1, 1, 1, '{kind}', CASE WHEN (n & 1) = 0 THEN 'ready' ELSE 'done' END,
            0, 0, n, 0, 0, 0, '[]', n
        FROM (WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers
            WHERE n < {count}) SELECT n FROM numbers) AS numbered"""  # noqa: S608 - ours
    mariadb = database.engine.dialect.name == "mariadb"
    deep, table = f"SET max_recursive_iterations = {count}", "TABLE " if mariadb else ""
    statements = [*([deep] if mariadb else []), query, f"ANALYZE {table}batches"]
    database.write_now(lambda connection: [*map(connection.exec_driver_sql, statements)])


@pytest.mark.parametrize("kind", [EXTRACT, EMBED])
async def test_a_claim_reads_the_batches_in_the_order_of_their_index(
    place: Workplace, ledger: Database, kind: BatchKind
) -> None:
    place.submit({"a": "one"})
    fill(ledger, 5000)
    with statements(ledger) as sent:
        await claim(place.worker("here"), kind, limit=10)

    found = plan(ledger, sent[0])

    assert "ix_batches_state_kind_lane_virtual_time_run_at_id" in found
    assert "sort" not in found.lower()
    assert "b-tree" not in found.lower()


async def test_the_batches_of_a_paused_job_are_not_even_read(
    place: Workplace, ledger: Database
) -> None:
    job = place.submit({"a": "one"})
    fill(ledger, 5000)
    place.pause(job)

    with statements(ledger) as sent:
        assert list(await claim(place.worker("here"))) == []

    assert len(sent) == len(KINDS)
    assert rows(ledger, "SELECT count(*) FROM batches WHERE state = 'ready'") == [(0,)]


async def test_what_waits_for_a_system_and_a_paused_job_is_not_even_read(
    place: Workplace, ledger: Database
) -> None:
    def is_work() -> bool:
        return ledger.read_now(partial(held.is_work, kinds=KINDS))

    worker = PretendWorker(place.worker("here"))
    job = place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await worker.work.release(await claim_one(worker.work), away())
    fill(ledger, 5000, EMBED)
    for _ in range(3):
        assert list(await claim(worker.work)) == []
    assert not is_work()
    place.pause(job)
    place.pass_time()
    for _ in range(3):  # a thousand at a time
        assert list(await claim(worker.work)) == []

    assert place.set_rest_aside() == 1

    assert not is_work()
    assert rows(ledger, "SELECT count(*) FROM batches WHERE state = 'ready'") == [(0,)]


async def test_what_must_wait_for_a_system_is_looked_for_in_the_order_of_claims(
    place: Workplace, ledger: Database
) -> None:
    worker = PretendWorker(place.worker("here"))
    place.submit({"a": "one"})
    await worker.run(EXTRACT)
    await worker.work.release(await claim_one(worker.work), away())
    fill(ledger, 5000, EMBED)

    with statements(ledger) as sent:
        assert list(await claim(worker.work, limit=10)) == []

    found = plan(ledger, next(one for one in sent if "virtual_time >=" in one[0]))
    assert "ix_batches_state_kind_lane_virtual_time_run_at_id" in found
    assert "sort" not in found.lower()
    assert "b-tree" not in found.lower()


async def test_reaping_reads_only_leases(place: Workplace, ledger: Database) -> None:
    place.submit({"a": "one"})
    fill(ledger, 5000)
    with statements(ledger) as sent:
        place.reap()

    found = plan(ledger, sent[0])
    assert "ix_batches_state_lease_until" in found
    assert "scan batches" not in found.lower()
    assert "seq scan" not in found.lower()
    assert "ALL batches" not in found


async def test_a_group_of_documents_costs_hardly_more_statements_than_one(
    place: Workplace, ledger: Database
) -> None:
    worker = PretendWorker(place.worker("here"))
    for text in ("one", "two"):  # the rows that a tenant has once
        place.submit({"first": text})
        await worker.run()
    costs: dict[int, list[int]] = {}
    for count in (1, 50):
        costs[count] = []
        for text in ("one", "two"):
            texts = {f"{count}/{number}": text for number in range(count)}
            with statements(ledger) as sent:
                place.submit(texts)
                await worker.run()
            costs[count].append(len(sent))

    assert costs[50] == pytest.approx(costs[1], abs=3)


async def test_many_finishes_at_once_cost_less_than_each_alone(
    place: Workplace, ledger: Database
) -> None:
    worker = PretendWorker(place.worker("here"))
    for number in range(20):
        place.submit({f"d{number}": "text"})
    await worker.run(EXTRACT)
    first, *rest = await claim(worker.work)
    with statements(ledger) as alone:
        await worker.work.finish([Finished(lease=first)])

    with statements(ledger) as together:
        await worker.work.finish([Finished(lease=lease) for lease in rest])

    assert len(together) == len(alone)


async def test_many_extracts_finished_at_once_cost_as_many_statements_as_one(
    place: Workplace, ledger: Database
) -> None:
    worker = PretendWorker(place.worker("here"))
    place.submit({"first": "text"})  # the row that a tenant has once
    await worker.run(EXTRACT)
    for number in range(20):
        place.submit({f"d{number}": "text"})
    first, *rest = await claim(worker.work, EXTRACT)
    with statements(ledger) as alone:
        await worker.work.finish([worker.result(first)])

    with statements(ledger) as together:
        await worker.work.finish([worker.result(lease) for lease in rest])

    assert len(together) == len(alone)


@pytest.mark.parametrize("ledger_url", ["postgres"], indirect=True)
async def test_postgresql_is_sent_nothing_row_after_row(place: Workplace, ledger: Database) -> None:
    """SQLite is no server, and MariaDB cannot join a list."""
    worker = PretendWorker(place.worker("here"))
    each: list[str] = []

    def note(
        _connection: Connection, _cursor: object, statement: str, parameters: object, *_: object
    ) -> None:
        if isinstance(parameters, list):
            each.append(statement)

    event.listen(ledger.engine, "before_cursor_execute", note)

    for text in ("one", "two"):
        place.submit({f"d{number}": text for number in range(20)})
        await worker.run()

    assert each == []


async def test_many_uploads_at_once_cost_as_many_statements_as_one(
    place: Workplace, ledger: Database
) -> None:
    new = place.new_job()
    place.submit({"there": "already"})  # the row of the pipeline
    uploaded = [(new, document(f"d{number}", "text")) for number in range(21)]
    with statements(ledger) as alone:
        ledger.write_now(partial(uploads.take_uploads, uploads=uploaded[:1]))

    with statements(ledger) as together:
        taken = ledger.write_now(partial(uploads.take_uploads, uploads=uploaded[1:]))

    assert len({one.job for one in taken}) == 20
    assert all(one.kept for one in taken)
    assert len(together) == len(alone)
