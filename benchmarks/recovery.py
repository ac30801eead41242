"""How soon work goes on after a worker was killed, and what is done twice."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Select, select

from benchmarks import corpus
from benchmarks.databases import LEDGERS, NAMES, chosen
from benchmarks.measuring import Goal, Options, Result, Row, answer_of, child
from benchmarks.watching import progress
from vectorflow.domain.jobs import BatchState
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import batches

LEASE_SECONDS = 30
"""The shortest that the settings allow."""
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 300
BYTES_PER_CHUNK = 600

HELD = select(batches.c.id).where(batches.c.state == BatchState.LEASED)
OPEN = select(batches.c.id).where(batches.c.state.in_([BatchState.READY, BatchState.LEASED]))


class Answers(NamedTuple):
    """What the model had answered before the kill and after it: text -> when."""

    before: dict[str, float]
    after: dict[str, float]

    @property
    def twice(self) -> int:
        """Texts that were embedded again."""
        return len(self.before.keys() & self.after.keys())

    @property
    def twice_seconds(self) -> float:
        """How long the killed worker had worked on them, at the rate it had."""
        seconds = max(self.before.values()) - min(self.before.values())
        return round(self.twice * seconds / len(self.before), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What happened after a kill."""

    resumed_seconds: float
    """Until what the killed worker held was in other hands."""
    embedding_seconds: float
    """Until the model answered again; where it had to be loaded, that too."""
    answered: int
    """Texts that the killed worker had embedded."""
    twice: int
    """Texts of them that were embedded again."""
    twice_seconds: float


def measure(options: Options) -> Result:
    """Kill a command on an embedded ledger, and one of two workers that share a server's."""
    texts = corpus.files(400_000 if options.quick else 2_000_000, options.data / "corpus")
    found: dict[str, Recovery] = {}
    for kind in chosen(options):
        progress(f"{NAMES[kind]}: killing in the middle")
        measured = _embedded if kind == "sqlite" else partial(_shared, kind=kind)
        found[kind] = measured(texts, options.data / f"on-{kind}")
    return Result(
        table=_table(found),
        figures={kind: asdict(one) for kind, one in found.items()},
        goals=[goal for kind, one in found.items() for goal in _goals(kind, one)],
        summary=f"recovery: {'; '.join(_said(kind, one) for kind, one in found.items())}",
        notes=[str(texts)],
    )


def _goals(kind: str, one: Recovery) -> list[Goal]:
    name, within = ("embedded", 3) if kind == "sqlite" else (NAMES[kind], LEASE_SECONDS + 5)
    return [
        Goal(what=f"{name}: resumed, s", value=one.resumed_seconds, at_most=within),
        Goal(what=f"{name}: done twice, s", value=one.twice_seconds, at_most=10),
    ]


def _table(found: dict[str, Recovery]) -> list[Row]:
    heads = [
        "embedded, restarted" if kind == "sqlite" else f"{NAMES[kind]}, lease {LEASE_SECONDS} s"
        for kind in found
    ]
    columns = [asdict(one) for one in found.values()]
    lines = [(name, *(f"{one[name]:,}" for one in columns)) for name in columns[0]]
    return [("after SIGKILL", *heads), *lines]


def _said(kind: str, one: Recovery) -> str:
    who = "a restarted command" if kind == "sqlite" else f"another worker on {NAMES[kind]}"
    return f"{who} goes on after {one.resumed_seconds:.1f} s, {one.twice} texts embedded twice"


def _embedded(texts: corpus.Corpus, data: Path) -> Recovery:
    """Kill a command in the middle and start it again; the time counts from its start."""
    data.mkdir()
    first, second = data / "answers-1", data / "answers-2"
    with (
        closing(Database(f"sqlite:///{data / 'data' / 'ledger.db'}")) as database,
        _running("embed", texts.folder, data / "data", first) as process,
    ):
        held = partial(_found, database, _held_by(process.pid))
        _kill_in_the_middle(process, first, texts.bytes, held)
        killed = time.time()
        with _running("embed", texts.folder, data / "data", second) as again:
            held = partial(_found, database, _held_by(again.pid))
            resumed = _seconds_until(held, since=killed)
            _demand_all(answer_of(again), texts)
    return _recovery(resumed, killed, _read(first), _read(second))


def _shared(texts: corpus.Corpus, data: Path, *, kind: str) -> Recovery:
    """Kill one of two workers; the time counts from the kill."""
    data.mkdir()
    with LEDGERS[kind](data / kind) as url, closing(Database(url)) as database:
        variables = {
            "VECTORFLOW_DATABASE__URL": url,
            "VECTORFLOW_WORKER__LEASE_SECONDS": str(LEASE_SECONDS),
            "VECTORFLOW_WORKER__STORE_TIMEOUT": "10",
        }
        if kind == "postgres":
            variables["VECTORFLOW_STORE"] = url
        first, second = data / "answers-1", data / "answers-2"
        with _running("embed", texts.folder, data / "data", first, **variables) as process:
            held = partial(_found, database, _held_by(process.pid))
            _seconds_until(held, since=time.time())
            with _running("work", data / "data", second, **variables):
                _kill_in_the_middle(process, first, texts.bytes // 2, held)
                killed = time.time()
                resumed = _seconds_until(lambda: not held(), since=killed)
                _seconds_until(lambda: not _found(database, OPEN), since=killed)
    return _recovery(resumed, killed, _read(first), _read(second))


@contextmanager
def _running(*arguments: str | Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a child, at most until the end of the block."""
    process = child(*arguments, **variables)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _held_by(pid: int) -> Select[tuple[int]]:
    """Which batches a process holds."""
    return HELD.where(batches.c.lease_owner.like(f"%:{pid}:%"))


def _found(database: Database, query: Select[tuple[int]]) -> bool:
    """Tell whether a ledger has such batches."""
    return database.read_now(lambda connection: connection.execute(query).first()) is not None


def _kill_in_the_middle(
    process: "subprocess.Popen[str]", answers: Path, size: int, holds: Callable[[], bool]
) -> None:
    """Kill once the model has answered about 60 % of the texts and a batch is held."""
    enough = 0.6 * size / BYTES_PER_CHUNK

    def due() -> bool:
        if process.poll() is not None:
            raise RuntimeError("it ended before it could be killed")
        return len(_read(answers)) >= enough and holds()

    _seconds_until(due, since=time.time())
    process.kill()
    process.wait()


def _seconds_until(true: Callable[[], bool], since: float) -> float:
    while not true():
        if time.time() - since > PATIENCE_SECONDS:
            raise RuntimeError("what was waited for did not happen")
        time.sleep(LOOK_SECONDS)
    return round(time.time() - since, 2)


def _read(answers: Path) -> dict[str, float]:
    if not answers.exists():
        return {}
    lines = (line.split() for line in answers.read_text("utf-8").splitlines())
    return {name: float(at) for at, name in lines}


def _demand_all(said: dict[str, float], texts: corpus.Corpus) -> None:
    if said["failed"] or said["records"] < texts.bytes / (4 * BYTES_PER_CHUNK):
        message = f"not all was embedded in the end: {said}"
        raise RuntimeError(message)


def _recovery(
    resumed: float, killed: float, before: dict[str, float], after: dict[str, float]
) -> Recovery:
    later = {name: at for name, at in after.items() if at > killed}
    answers = Answers(before, later)
    return Recovery(
        resumed_seconds=resumed,
        embedding_seconds=round(min(later.values()) - killed, 2),
        answered=len(before),
        twice=answers.twice,
        twice_seconds=answers.twice_seconds,
    )
