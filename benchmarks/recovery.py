"""How soon work goes on after a worker was killed, and what is done twice."""

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks import commands, corpus
from benchmarks.databases import postgres_server
from benchmarks.measuring import Goal, Options, Result, answer_of, child

LEASE_SECONDS = 30
"""The shortest that the settings allow."""
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 300
BYTES_PER_CHUNK = 600

HELD = "SELECT id FROM batches WHERE state = 'leased' AND lease_owner LIKE '%:{pid}:%'"


OPEN = "SELECT id FROM batches WHERE state IN ('ready', 'leased')"


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
    """Kill a command on an embedded ledger, and one of two workers on PostgreSQL."""
    texts = corpus.files(400_000 if options.quick else 2_000_000, options.data / "corpus")
    embedded = _embedded(texts, options.data / "embedded")
    shared = _shared(texts, options.data / "shared")
    within = LEASE_SECONDS + 5
    return Result(
        table=[
            ("after SIGKILL", "embedded, restarted", f"PostgreSQL, lease {LEASE_SECONDS} s"),
            *(
                (name, f"{ours:,}", f"{theirs:,}")
                for (name, ours), theirs in zip(
                    asdict(embedded).items(), asdict(shared).values(), strict=True
                )
            ),
        ],
        figures={"embedded": asdict(embedded), "shared": asdict(shared)},
        goals=[
            Goal(what="embedded: resumed, s", value=embedded.resumed_seconds, at_most=3),
            Goal(what="embedded: done twice, s", value=embedded.twice_seconds, at_most=10),
            Goal(what="PostgreSQL: resumed, s", value=shared.resumed_seconds, at_most=within),
            Goal(what="PostgreSQL: done twice, s", value=shared.twice_seconds, at_most=10),
        ],
        summary=(
            f"recovery: a restarted command goes on after {embedded.resumed_seconds:.1f} s, another"
            f" worker after {shared.resumed_seconds:.1f} s (lease {LEASE_SECONDS} s); embedded"
            f" twice: {embedded.twice} and {shared.twice} texts"
        ),
        notes=[str(texts)],
    )


def _embedded(texts: corpus.Corpus, data: Path) -> Recovery:
    """Kill a command in the middle and start it again; the time counts from its start."""
    data.mkdir()
    first, second = data / "answers-1", data / "answers-2"
    ledger = data / "data" / "ledger.db"
    with _running("embed", texts.folder, ledger.parent, first) as process:
        _kill_in_the_middle(process, first, texts.bytes, lambda: bool(_sqlite(ledger, process.pid)))
    killed = time.time()
    with _running("embed", texts.folder, ledger.parent, second) as process:
        resumed = _seconds_until(lambda: bool(_sqlite(ledger, process.pid)), since=killed)
        _demand_all(answer_of(process), texts)
    return _recovery(resumed, killed, _read(first), _read(second))


def _shared(texts: corpus.Corpus, data: Path) -> Recovery:
    """Kill one of two workers; the time counts from the kill."""
    data.mkdir()
    with postgres_server(data / "postgres") as url:
        variables = {
            "VECTORFLOW_DATABASE__URL": url,
            "VECTORFLOW_STORE": url,
            "VECTORFLOW_WORKER__LEASE_SECONDS": str(LEASE_SECONDS),
            "VECTORFLOW_WORKER__STORE_TIMEOUT": "10",
        }
        commands.run("db", "upgrade", "--data-dir", data / "data", **variables)
        first, second = data / "answers-1", data / "answers-2"
        with (
            psycopg.connect(url, autocommit=True) as connection,
            _running("embed", texts.folder, data / "data", first, **variables) as process,
        ):
            held = _Held(connection, process.pid)
            _seconds_until(lambda: bool(held()), since=time.time())
            with _running("work", data / "data", second, **variables):
                _kill_in_the_middle(process, first, texts.bytes // 2, lambda: bool(held()))
                killed = time.time()
                resumed = _seconds_until(lambda: not held(), since=killed)
                _seconds_until(lambda: not connection.execute(OPEN).fetchall(), since=killed)
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


class _Held:
    """Tells which batches a process holds on PostgreSQL."""

    def __init__(self, connection: "psycopg.Connection[tuple[int]]", pid: int) -> None:
        self._connection = connection
        self._query = HELD.format(pid=pid)

    def __call__(self) -> list[tuple[int]]:
        return self._connection.execute(self._query.encode()).fetchall()


def _sqlite(ledger: Path, pid: int) -> list[tuple[int]]:
    """Tell which batches a process holds on an embedded ledger."""
    if not ledger.exists():
        return []
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return connection.execute(HELD.format(pid=pid)).fetchall()
    finally:
        connection.close()


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
