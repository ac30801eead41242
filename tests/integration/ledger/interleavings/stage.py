"""Plays two transactions, of which one is stopped, and tells what must be true then."""

import asyncio
import hashlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Double,
    Select,
    String,
    Table,
    event,
    func,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.engine import ExceptionContext

from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import identity, metadata
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import PretendWorker, Workplace

BEFORE_COMMIT = 0

LEFT = "SELECT id FROM batches WHERE state IN ('ready', 'paused', 'leased')"

TABLES = [table for table in metadata.sorted_tables if table is not identity]


def _as_text(table: Table) -> Select[tuple[str]]:
    """Give the rows of a table as one text each."""
    kept = [column for column in table.c if not isinstance(column.type, Double)]
    gaps = [column.is_(None) for column in table.c if column.nullable]
    words = [literal_column(f"'{word}'", String) for word in ("|", table.name)]
    return select(func.concat_ws(*words, *kept, *gaps))


FILLED = [table.name for table in TABLES]

NUMBERED = [table.name for table in TABLES if table.c[0].name == "id"]

FORGET = [f"DROP TABLE IF EXISTS kept_{name}" for name in FILLED]

KEEP = [f"CREATE TABLE kept_{name} AS SELECT * FROM {name}" for name in FILLED]  # noqa: S608

PUT_BACK = [
    *[f"DELETE FROM {name}" for name in FILLED],  # noqa: S608 - our names
    *[f"INSERT INTO {name} SELECT * FROM kept_{name}" for name in FILLED],  # noqa: S608
]

COUNT_AGAIN = {
    "postgresql": """SELECT setval(pg_get_serial_sequence('{0}', 'id'),
        coalesce(max(id), 0) + 1, false) FROM {0}""",
    "mariadb": "ALTER TABLE {0} AUTO_INCREMENT = 1",
}
"""Gives new rows of a table the ids again that they had before: those after the largest."""

AS_ONE = {"postgresql": "{0}", "mariadb": "BEGIN NOT ATOMIC {0}; END"}
"""Makes one statement of many, which saves most of the time that a play takes."""

STATE = union_all(*map(_as_text, TABLES))
"""All rows but the moments, which differ each time; that there is none is kept."""

WAITS = {
    "postgresql": """SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'""",
    "mariadb": """SELECT variable_value FROM information_schema.global_status
        WHERE variable_name = 'innodb_row_lock_current_waits' AND variable_value > 0""",
}
"""Rows that somebody waits for."""

LOCK_ORDER = ["batches", "versions", "documents", "jobs", "buckets", "shares"]

ORDERS = {table: f"{table}.id" for table in LOCK_ORDER} | {
    "shares": "shares.tenant, shares.lane, shares.kind"
}

LOCKING = re.compile(
    r"FROM (batches|versions|documents|jobs|buckets|shares)\b.*?(?:ORDER BY ([\w., ]+?)\s*)?"
    r"FOR (?:NO KEY )?UPDATE$",
    re.DOTALL,
)
"""Those that wait; whoever skips what is locked may look in any order."""


Transaction = Callable[[Connection], object]


class Stage:
    """Stops one thread's transaction, and sees deadlocks."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.database = place.database
        self.deadlocks = 0
        self.locks: list[tuple[str, str, str | None]] = []
        """Of each locking statement: its words, its table, its order."""
        self.stop_at = BEFORE_COMMIT
        self.stopped = False
        self.seen: set[str] = set()
        """States that two transactions left behind, and that were found to be good."""
        self._actor = threading.local()
        self.reached = threading.Event()
        self.go_on = threading.Event()
        event.listen(self.database.engine, "before_cursor_execute", self._before_statement)
        event.listen(self.database.engine, "commit", self._before_commit)
        event.listen(self.database.engine, "handle_error", self._on_error)

    def _before_statement(
        self, _connection: Connection, _cursor: object, statement: str, *_: object
    ) -> None:
        if lock := LOCKING.search(statement):
            self.locks.append((statement, lock[1], lock[2]))
        steps: int = getattr(self._actor, "steps", 0)
        if steps:
            self._actor.steps = steps + 1
            if steps == self.stop_at:
                self._wait()

    def _before_commit(self, _connection: Connection) -> None:
        if getattr(self._actor, "steps", 0) and self.stop_at == BEFORE_COMMIT:
            self._wait()

    def _wait(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(20)

    def _on_error(self, context: ExceptionContext) -> None:
        error = context.original_exception
        if getattr(error, "sqlstate", None) == "40P01" or error.args[:1] == (1213,):
            self.deadlocks += 1

    def run(self, first: Transaction, second: Transaction, stop_at: int) -> "list[Future[object]]":
        """Stop the first before its n-th statement, run the second until it ends or waits."""
        self.stop_at = stop_at
        self.reached.clear()
        self.go_on.clear()
        with ThreadPoolExecutor(2) as threads:
            one = threads.submit(self._act, first)
            one.add_done_callback(lambda _: self.reached.set())
            assert self.reached.wait(20)
            self.stopped = not one.done()
            two = threads.submit(self.database.write_now, second)
            while not two.done() and not self._waits_for_lock():
                threading.Event().wait(0.002)
            self.go_on.set()
        return [one, two]

    def _act(self, transaction: Transaction) -> object:
        self._actor.steps = 1
        return self.database.write_now(transaction)

    def _waits_for_lock(self) -> bool:
        return bool(rows(self.database, WAITS[self.database.engine.dialect.name]))


@dataclass(frozen=True, slots=True)
class Scene:
    """Two transactions to interleave, and what must be true of their answers."""

    first: Transaction
    second: Transaction
    check: Callable[[Any, Any], None] = lambda _one, _two: None
    refusals: tuple[type[Exception], ...] = ()
    """Errors that one of them may end with."""


def set_up(stage: Stage, make: Callable[[Workplace], Scene]) -> Scene:
    """Make a scene, and keep all rows so that it can be played again and again."""
    scene = make(stage.place)
    # Or the first write into an index would make the second wait, and hide everything after that.
    execute(stage.database, "UPDATE indexes SET written = true")
    execute(stage.database, *FORGET, *KEEP)
    return scene


def play(stage: Stage, scene: Scene, stop_at: int, *, swapped: bool) -> bool:
    """Play a scene and check everything; False if the first had fewer statements."""
    name = stage.database.engine.dialect.name
    put_back = "; ".join((*PUT_BACK, *map(COUNT_AGAIN[name].format, NUMBERED)))
    execute(stage.database, AS_ONE[name].format(put_back))
    acts = (scene.second, scene.first) if swapped else (scene.first, scene.second)
    futures = stage.run(*acts, stop_at)
    one, two = reversed(futures) if swapped else futures
    if not any(isinstance(future.exception(), scene.refusals) for future in futures):
        scene.check(one.result(), two.result())
    assert stage.deadlocks == 0
    state = stage.database.read_now(_state)
    if state not in stage.seen:
        assert broken_laws(stage.database) == {}
        _finish_everything(stage.place)
        assert broken_laws(stage.database, all_done=True) == {}
        stage.seen.add(state)
    return stage.stopped


def _state(connection: Connection) -> str:
    found = sorted(map(repr, connection.execute(STATE).scalars()))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _finish_everything(place: Workplace) -> None:
    for (job,) in rows(place.database, "SELECT id FROM jobs WHERE state = 'paused'"):
        assert isinstance(job, int)
        place.resume(job)
    for _ in range(4):
        asyncio.run(PretendWorker(place.worker("setup")).run())
        place.pass_time()
        place.reap()
        if not rows(place.database, LEFT):
            return


def execute(database: Database, *statements: str) -> None:
    database.write_now(lambda connection: [*map(connection.exec_driver_sql, statements)])
