"""Values of each row's own, in each kind of database."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, event, select

from vectorflow.ledger.database import Database
from vectorflow.ledger.each import update_each
from vectorflow.ledger.tables import batches
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import Workplace


def test_each_row_gets_what_is_its_own_and_all_get_the_rest(
    place: Workplace, ledger: Database
) -> None:
    for name in ("a", "b", "c"):
        place.submit({name: "text"})
    letter = {"code": 'a "b" {c}, [\\d]', "at": [1, [2]]}
    own: list[dict[str, object]] = [
        {"id": 3, "cost": None, "last_error": letter},
        {"id": 1, "cost": 0.25, "last_error": None},
    ]

    ledger.write_now(
        partial(update_each, table=batches, rows=own, lost=batches.c.lost + 7, bucket_id=5)
    )

    found = ledger.read_now(_read)
    assert [row.cost for row in found[::2]] == [0.25, None]
    assert [row.last_error for row in found] == [None, None, letter]
    assert [row.lost for row in found] == [7, 0, 7]
    assert [row.bucket_id for row in found] == [5, None, 5]
    nothing = rows(ledger, "SELECT count(*) FROM batches WHERE last_error IS NULL")
    assert nothing == [(2,)]


def test_lists_are_written_whole_however_long_they_are(place: Workplace, ledger: Database) -> None:
    place.submit({"a": "text"})
    place.submit({"b": "text"})
    own = [{"id": 1, "vectors": []}, {"id": 2, "vectors": ["one", "two", "three"]}]

    ledger.write_now(partial(update_each, table=batches, rows=own))

    found = ledger.read_now(_read)
    assert [row.vectors for row in found] == [[], ["one", "two", "three"]]


def test_no_rows_need_no_statement(ledger: Database) -> None:
    sent: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *given: sent.append(given[2]))

    ledger.write_now(partial(update_each, table=batches, rows=[], lost=1))

    assert [statement for statement in sent if "batches" in statement] == []


def _read(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(batches).order_by(batches.c.id)).all()
