"""What workers noted of their writes, held against the ledger's own books."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from vectorflow.domain.jobs import BatchKind, Outcome
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import attempts, batches


class Note(NamedTuple):
    """The ledger accepted a write under a lease; see `launch.Witness`."""

    verb: str
    batch: int
    epoch: int
    began: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Held against the books."""

    writes: int
    finishes: int
    late: list[Note]
    """Asked for after the lease was lost, and accepted."""
    foreign: list[Note]
    """Finishes whose own try did not end with ok."""
    lost: Counter[int]
    """Leases lost, by process."""
    let_go: Counter[int]
    """Leases of embedding that were lost or handed back without an error, by process."""


def seen(file: Path, database: Database) -> Seen:
    """Read the notes of all workers and the tries of the ledger."""
    notes = list(_notes(file))
    lost: dict[tuple[int, int], float] = {}
    ok: set[tuple[int, int]] = set()
    losers: Counter[int] = Counter()
    let_go: Counter[int] = Counter()
    for row in database.read_now(_tries):
        process = pid_of(row.owner)
        if row.outcome == Outcome.LOST:
            lost[row.batch_id, row.epoch] = row.ended_at
            losers[process] += 1
        elif row.outcome == Outcome.OK:
            ok.add((row.batch_id, row.epoch))
        if row.outcome in {Outcome.LOST, Outcome.RELEASED} and row.kind == BatchKind.EMBED:
            let_go[process] += 1
    never = float("inf")
    finishes = [note for note in notes if note.verb == "finish"]
    return Seen(
        writes=len(notes),
        finishes=len(finishes),
        late=[note for note in notes if note.began > lost.get((note.batch, note.epoch), never)],
        foreign=[note for note in finishes if (note.batch, note.epoch) not in ok],
        lost=losers,
        let_go=let_go,
    )


def pid_of(owner: str) -> int:
    """Read it from the name of a lease's owner, which ends with the process and a random part."""
    return int(owner.split(":")[-2])


def _tries(connection: Connection) -> Sequence[Row[Any]]:
    joined = attempts.join(batches, batches.c.id == attempts.c.batch_id)
    return connection.execute(select(attempts, batches.c.kind).select_from(joined)).all()


def _notes(file: Path) -> Iterator[Note]:
    """Read them; a line that a kill cut off is left out."""
    for line in file.read_text("ascii").splitlines() if file.exists() else []:
        words = line.split()
        if len(words) == 4:
            yield Note(words[0], int(words[1]), int(words[2]), float(words[3]))
