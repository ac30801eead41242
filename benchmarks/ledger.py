"""Batches that workers claim and finish per second in one job, and what is synced for each."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

from sqlalchemy import Connection

from benchmarks.databases import LEDGERS, chosen
from benchmarks.measuring import Goal, Options, Result, Row, answer_of, child
from benchmarks.watching import progress
from vectorflow.domain.jobs import BatchKind
from vectorflow.ledger import indexes, submission
from vectorflow.ledger.database import Database
from vectorflow.ledger.new_batches import GROUP_DOCUMENTS
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.testing.workplace import PIPELINE, TENANT, document

WORKERS = 4
CLAIMED = 16
START_SECONDS = 4.0
"""In which all workers have started: they begin together."""

DOCUMENT_TOKENS = 250
"""Of a document of 1 KB."""
MODEL_TOKENS = 12_000
"""Which the local model embeds in a second, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What workers did that ended all batches of a kind; nothing is extracted or embedded."""

    batches: int
    seconds: float
    per_second: float
    worker_ms: float
    """Of a worker's time, for one batch."""
    worker_cpu_ms: float
    """Of its processor time; the database's own comes on top where that is another process."""
    syncs: float
    """Of the database's log for one batch: in SQLite, commits that wrote; in MariaDB, also those of
    its tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """One kind of database."""

    hot: Pass
    """Batches of one document each, in one job; each finish flips its documents."""
    alone: Pass
    """One worker, which claims one batch and finishes it."""
    grouped: Pass
    """Batches as intake makes them of small documents, by one worker."""
    share: float
    """Of the time of such a batch that is spent on the ledger, with the local model."""


def measure(options: Options) -> Result:
    """Let workers that only pretend work on ledgers."""
    found = {name: _measured(name, options) for name in chosen(options)}
    said = ", ".join(f"{name} {one.hot.per_second:,.0f}" for name, one in found.items())
    return Result(
        table=_table(found),
        figures={name: asdict(one) for name, one in found.items()},
        goals=[goal for name, one in found.items() for goal in _goals(name, one)],
        summary=f"ledger: batches that {WORKERS} workers finish per second in one job: {said}",
        notes=[
            f"{WORKERS} worker processes, claims of {CLAIMED}; each finish flips its documents",
            "syncs: of PostgreSQL's log, of MariaDB's log and tables, commits that wrote in SQLite",
        ],
    )


def _measured(name: str, options: Options) -> Ledger:
    count = 320 if options.quick else 3_000
    with LEDGERS[name](options.data / name) as url:
        place = _Place(url, name)
        hot = place.finished(count, group=1, workers=WORKERS, claimed=CLAIMED)
        alone = place.finished(count // 10, group=1, workers=1, claimed=1)
        groups = GROUP_DOCUMENTS * (2 if options.quick else 40)
        grouped = place.finished(groups, group=GROUP_DOCUMENTS, workers=1, claimed=CLAIMED)
    model_ms = 1000 * GROUP_DOCUMENTS * DOCUMENT_TOKENS / MODEL_TOKENS
    share = grouped.worker_ms / (grouped.worker_ms + model_ms)
    return Ledger(hot=hot, alone=alone, grouped=grouped, share=round(share, 4))


class _Place:
    """A ledger that is filled and worked off."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name

    def finished(self, documents: int, *, group: int, workers: int, claimed: int) -> Pass:
        """Make a job, and measure how its embed batches are finished."""
        progress(f"{self._name}: {documents:,} documents, {group} a batch")
        _submit(self._url, documents, group)
        self._run(BatchKind.EXTRACT, WORKERS, CLAIMED)
        return self._run(BatchKind.EMBED, workers, claimed)

    def _run(self, kind: BatchKind, workers: int, claimed: int) -> Pass:
        begins = str(time.time() + START_SECONDS)
        processes = [
            child("ledger", self._url, f"worker-{number}", kind, str(claimed), begins)
            for number in range(workers)
        ]
        answers = [answer_of(process) for process in processes]
        batches = round(sum(one["batches"] for one in answers))
        seconds = max(one["ended"] for one in answers) - min(one["began"] for one in answers)
        spent = sum(one["ended"] - one["began"] for one in answers)
        syncs = max(one["log_syncs"] for one in answers) or sum(one["commits"] for one in answers)
        return Pass(
            batches=batches,
            seconds=round(seconds, 3),
            per_second=round(batches / seconds),
            worker_ms=round(1000 * spent / batches, 3),
            worker_cpu_ms=round(1000 * sum(one["cpu_seconds"] for one in answers) / batches, 3),
            syncs=round(syncs / batches, 3),
        )


def _submit(url: str, count: int, group: int) -> None:
    """Make one job with so many documents, so many to a batch."""
    database = Database(url)
    opened = database.write_now(partial(indexes.open_index, tenant=TENANT, pipeline=PIPELINE))
    new = NewJob(tenant=TENANT, index=opened.id, pipeline=PIPELINE, scope="")
    job = database.write_now(partial(submission.start_job, new=new)).job
    items = [document(f"{job}-{number}", f"text {number}") for number in range(count)]
    for start in range(0, count, GROUP_DOCUMENTS):
        some = items[start : start + GROUP_DOCUMENTS]
        groups = [some[at : at + group] for at in range(0, len(some), group)]

        def add(connection: Connection, groups: Sequence[Sequence[Accepted]] = groups) -> None:
            for one in groups:
                submission.add_documents(connection, job, one)

        database.write_now(add)
    database.write_now(partial(submission.end_listing, job=job))
    database.close()


def _goals(name: str, one: Ledger) -> list[Goal]:
    goals = [
        Goal(what=f"{name}: syncs for a batch, ungrouped", value=one.alone.syncs, at_most=3),
        Goal(what=f"{name}: share of a batch's time", value=one.share, at_most=0.03),
    ]
    if name != "postgres":  # the figures of the others are stated, not demanded
        return goals
    return [
        Goal(what=f"{name}: batches a second", value=one.hot.per_second, at_least=5_000),
        *goals,
    ]


def _table(found: dict[str, Ledger]) -> list[Row]:
    passes = {
        f"{WORKERS} workers, claims of {CLAIMED}": "hot",
        "1 worker, claims of 1": "alone",
        f"1 worker, {GROUP_DOCUMENTS} documents a batch": "grouped",
    }
    rows: list[Row] = [("", *found)]
    for said, which in passes.items():
        chosen: list[Pass] = [getattr(one, which) for one in found.values()]
        rows += [
            (f"{said}: batches a second", *(f"{one.per_second:,.0f}" for one in chosen)),
            (f"{said}: ms of a worker", *(f"{one.worker_ms:.2f}" for one in chosen)),
            (f"{said}: CPU ms of a worker", *(f"{one.worker_cpu_ms:.2f}" for one in chosen)),
            (f"{said}: syncs a batch", *(f"{one.syncs:.2f}" for one in chosen)),
        ]
    return [
        *rows,
        ("share of such a batch's time", *(f"{one.share:.1%}" for one in found.values())),
    ]
