"""How the databases find rows for the hot transactions, in a ledger with a history.

Every statement of every hot transaction is explained as it runs. None may read one of the large
tables from end to end, and those that look for work use the index that was made for it. A new
function of a module in `MODULES` has to be put among the hot or the cold ones.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest
from sqlalchemy import Connection, event, text

from vectorflow.domain.jobs import BatchKind, Lane, VersionState
from vectorflow.domain.retries import Decision, Pause, Retry
from vectorflow.errors import BadChunk, KeyRefused, Unavailable, VectorFlowError
from vectorflow.ledger import (
    backlog,
    claims,
    duties,
    exports,
    finishing,
    held,
    losses,
    outcome_reads,
    overview,
    reads,
    releases,
    retention,
    retry_requests,
    retrying,
    serving,
    shares,
    submission,
    transitions,
    uploads,
)
from vectorflow.ledger.database import Database
from vectorflow.ledger.retention import Retention
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.workplace import (
    CAPABILITIES,
    RECIPE,
    TENANT,
    PretendWorker,
    Workplace,
    document,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

MODULES = (
    claims, finishing, releases, losses, transitions, retrying, submission, uploads, serving, held,
    duties, reads, outcome_reads, exports, shares, backlog, retention, retry_requests, overview,
)  # fmt: skip

LARGE = {"batches", "versions", "documents", "parts", "attempts", "jobs"}

HISTORY = 30_000
"""Documents that were embedded long ago, each by a batch; there are as many jobs as thousands."""

NEXT_WORK = {"ix_batches_state_kind_lane_virtual_time_run_at_id"}
RAN_OUT = {"ix_batches_state_lease_until"}
OF_JOB = {"ix_batches_job_id_state"}
VERSIONS_OF_JOB = {"ix_versions_job_id_state"}
JOBS_IN_STATE = {"ix_jobs_state"}
BY_NAME = {
    "uq_documents_index_id_scope_external_id", "ix_documents_index_id_external_id",
    "sqlite_autoindex_documents_1",
}  # fmt: skip

FILL = (
    """INSERT INTO documents (id, tenant, index_id, scope, external_id, last_version, live_version)
    SELECT i, 'default', 1, '', 'old/' || i, 1, i FROM n""",
    """INSERT INTO versions (id, tenant, document_id, job_id, pipeline_id, number, state, raw_hash,
        recipe_hash, extractor, uri, metadata, parts_total, parts_done, "rows", new_rows, lost,
        created_at, ended_at)
    SELECT i, 'default', i, 1 + i % :jobs, 1, 1, 'live', 'r', 'r', 'text', 'file:///old', '{}',
        1, 1, 3, 3, :no, 1, 2 FROM n""",
    """INSERT INTO parts (version_id, number, "blob", row_start, "rows", resume_at)
    SELECT i, 0, 'manifests/' || i, 0, 3, 1 FROM n""",
    """INSERT INTO batches (id, tenant, job_id, index_id, pipeline_id, kind, state, lane,
        virtual_time, run_at, lease_owner, lease_epoch, leased_at, attempt, lost, vectors)
    SELECT i, 'default', 1 + i % :jobs, 1, 1,
        CASE i % 3 WHEN 0 THEN 'extract' WHEN 1 THEN 'embed' ELSE 'retire' END,
        'done', 0, 0, i, 'long-gone', 1, 1, 1, 0, '[]' FROM n""",
    """INSERT INTO attempts (batch_id, epoch, tenant, owner, outcome, chunks_embedded,
        embedding_calls, tokens, started_at, ended_at)
    SELECT i, 1, 'default', 'long-gone', 'ok', 3, 1, 9, 1, 2 FROM n""",
    """INSERT INTO jobs (id, tenant, index_id, pipeline_id, scope, state, docs_total, docs_done,
        docs_failed, cleanup_open, documents_new, documents_changed, documents_unchanged,
        documents_gone, records_new, records_old, chunks_embedded, embedding_calls, tokens,
        created_at, ended_at)
    SELECT i, 'default', 1, 1, '', 'completed', 1, 1, 0, 0, 1, 0, 0, 0, 3, 0, 3, 1, 9, 1, 2
    FROM n WHERE i <= :jobs""",
)

BACKLOG = """
    INSERT INTO batches (tenant, job_id, index_id, pipeline_id, kind, state, lane, virtual_time,
        run_at, lease_epoch, attempt, lost, vectors)
    SELECT 'default', 1 + i % :jobs, 1, 1, 'retire', 'ready', 1, i, i, 0, 0, 0, '[]'
    FROM n WHERE i <= 300"""
"""Ready already, in a later lane than what the tests submit."""


RECURSION = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :size) "
NUMBERS = {"mariadb": f"WITH n(i) AS (SELECT seq FROM seq_1_to_{HISTORY})"}  # noqa: S608

ANALYZE = {
    "postgresql": "ANALYZE",
    "mariadb": f"ANALYZE TABLE {', '.join(sorted(LARGE))}",
}
"""As servers do by themselves; nobody does it for SQLite."""


def fill(place: Workplace) -> None:
    """Give a ledger a past, and work that waits."""
    place.submit({"first": "one"})
    for table in ("batches", "versions", "documents", "jobs"):
        _execute(place.database, f"DELETE FROM {table}")  # noqa: S608 - our names
    kind = place.database.engine.dialect.name
    numbers = NUMBERS.get(kind, RECURSION)
    given: dict[str, object] = {"size": HISTORY, "jobs": HISTORY // 10, "no": False}
    for statement in FILL:
        into, query = statement.split("SELECT", 1)
        _execute(place.database, f"{into} {numbers} SELECT {query}", given)
    if kind == "postgresql":
        for table in ("documents", "versions", "batches", "jobs"):
            last = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {HISTORY})"
            _execute(place.database, last)
    into, query = BACKLOG.split("SELECT", 1)
    _execute(place.database, f"{into} {numbers} SELECT {query}", given)
    if analyze := ANALYZE.get(kind):
        _execute(place.database, analyze)


def _execute(database: Database, statement: str, given: dict[str, object] | None = None) -> None:
    named = {name: value for name, value in (given or {}).items() if f":{name}" in statement}

    def run(connection: Connection) -> None:
        if connection.dialect.name != "mariadb":
            connection.execute(text(statement), named)
            return
        before = connection.exec_driver_sql("SELECT @@sql_mode").scalar_one()
        connection.exec_driver_sql("SET sql_mode = concat(@@sql_mode, ',ANSI')")  # || and quotes
        connection.execute(text(statement), named)
        connection.execute(text("SET sql_mode = :before"), {"before": before})

    database.write_now(run)


@dataclass(slots=True)
class Plan:
    """What a database says of one statement."""

    statement: str
    scans: set[str] = field(default_factory=set[str])
    """Large tables that are read from end to end."""
    indexes: set[str] = field(default_factory=set[str])
    sorts: bool = False


def explained(connection: Connection, statement: str, parameters: object) -> Plan:
    """Ask the database how it would run a statement."""
    cursor = connection.connection.cursor()
    if connection.dialect.name == "sqlite":
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
        return _sqlite_plan(statement, [str(row[3]) for row in cursor.fetchall()])
    if connection.dialect.name == "mariadb":
        cursor.execute(f"EXPLAIN {statement}", parameters)  # type: ignore[arg-type]
        return _mariadb_plan(statement, cursor.fetchall())
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)  # type: ignore[arg-type]
    ((found,),) = cursor.fetchall()
    return _postgres_plan(statement, found if isinstance(found, list) else json.loads(found))


def _sqlite_plan(statement: str, steps: list[str]) -> Plan:
    plan = Plan(statement)
    for step in steps:
        if scanned := re.match(r"SCAN (\w+)", step):
            plan.scans |= {scanned[1]} & LARGE
        if index := re.search(r"USING (?:COVERING )?INDEX (\w+)", step):
            plan.indexes.add(index[1])
        plan.sorts |= "TEMP B-TREE FOR ORDER BY" in step
    return plan


def _postgres_plan(statement: str, found: list[dict[str, object]]) -> Plan:
    plan = Plan(statement)
    nodes = [found[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        assert isinstance(node, dict)
        by_nothing = "Filter" in node and "Index Cond" not in node
        if node["Node Type"] == "Seq Scan" or (by_nothing and "Index Name" in node):
            plan.scans |= {str(node["Relation Name"])} & LARGE
        plan.sorts |= node["Node Type"] == "Sort"
        if "Index Name" in node:
            plan.indexes.add(str(node["Index Name"]))
        nodes += node.get("Plans", [])
    return plan


def _mariadb_plan(statement: str, steps: Sequence[Sequence[object]]) -> Plan:
    """By the table that it gives: what it says as JSON is often none."""
    plan = Plan(statement)
    for _id, select, table, access, _possible, key, *_rest, extra in steps:
        if access in ("ALL", "index") and select != "INSERT":  # of the table that is written
            plan.scans |= {str(table)} & LARGE
        if key:
            plan.indexes.add(str(key))
        plan.sorts |= "filesort" in str(extra)
    return plan


@dataclass(slots=True)
class Watch:
    """Explains each statement of a transaction."""

    place: Workplace
    plans: list[Plan] = field(default_factory=list[Plan])

    def _before(
        self, connection: Connection, _cursor: object, statement: str, parameters: object,
        _context: object, many: bool,
    ) -> None:  # fmt: skip
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
            one = parameters[0] if many and isinstance(parameters, list) else parameters
            self.plans.append(explained(connection, statement, one))

    def run(self, transaction: Callable[[Connection], object]) -> object:
        self.plans.clear()
        event.listen(self.place.database.engine, "before_cursor_execute", self._before)
        try:
            return self.place.database.write_now(transaction)
        finally:
            event.remove(self.place.database.engine, "before_cursor_execute", self._before)


def finish(*results: Finished) -> Callable[[Connection], object]:
    return partial(finishing.finish, results=results, zombie_seconds=60.0)


class Day:
    """What a ledger does all day, in an order in which it can be done."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.watch = Watch(place)
        self.worker = PretendWorker(place.worker("here"))
        self.plans: dict[str, list[Plan]] = {}
        self.job = 0

    def do(self, name: str, transaction: Callable[[Connection], object]) -> object:
        """Do one thing, and keep how the database did it."""
        result = self.watch.run(transaction)
        self.plans.setdefault(name, []).extend(self.watch.plans)
        return result

    def each(self, *names: str) -> Iterator[tuple[str, Plan]]:
        return ((name, plan) for name in names or self.plans for plan in self.plans[name])

    def indexes(self, name: str) -> set[str]:
        return {index for plan in self.plans[name] for index in plan.indexes}

    def lacks(self, name: str) -> bool:
        return not all(wanted & self.indexes(name) for wanted in USED[name])

    def claim(self, *kinds: BatchKind, limit: int = 16) -> list[Lease]:
        claim = partial(
            claims.claim,
            owner="here",
            wanted=claims.Wanted(kinds, CAPABILITIES, limit, bulk=1),
            lease_seconds=30.0,
        )
        claimed = self.do("claims.claim", claim)
        assert isinstance(claimed, list)
        assert claimed
        return [one.lease for one in claimed]

    def intake(self) -> None:
        names = [f"new/{number}" for number in range(40)]
        known = partial(serving.serving, index=1, scope="", ids=names, recipe=RECIPE)
        self.do("serving.serving", known)
        new = self.place.new_job(lane=Lane.INTERACTIVE)
        self.do("submission.start_job", partial(submission.start_job, new=new))
        items = [document(name, "text") for name in names]
        accept = partial(submission.accept, new=new, accepted=items, total=len(items))
        made = self.do("submission.accept", accept)
        for _ in range(2):  # these wait, and the second supersedes
            self.place.database.write_now(accept)
        assert isinstance(made, int)
        self.job = made
        again = [document(f"old/{number}", "other") for number in range(1, 9)]
        self.place.database.write_now(
            partial(submission.accept, new=new, accepted=again, total=len(again))
        )
        ups = [
            (self.place.new_job(key=f"k{n}", lane=Lane.INTERACTIVE), document(f"up/{n}", "text"))
            for n in range(8)
        ]
        self.do("uploads.take_uploads", partial(uploads.take_uploads, uploads=ups))
        self.do("submission.keep_listing", partial(submission.keep_listing, job=made))
        listings = partial(submission.end_dead_listings, is_dead=None)
        self.do("submission.end_dead_listings", listings)

    def work(self) -> None:
        extracts = self.claim(EXTRACT)
        names = [(lease.batch, lease.epoch) for lease in extracts]
        self.do("held.is_current", partial(held.is_current, owner="here", names=names))
        self.do("held.held", partial(held.held, owner="here", names=names))
        self.do("held.owned", partial(held.owned, owner="here", names=names))
        self.do("claims.renew", partial(claims.renew, leases=extracts, lease_seconds=30.0))
        first, *rest = extracts
        parts = [part_of(first.versions[0].id, last=False)]
        self.do("held.uncommitted", partial(held.uncommitted, new_parts=parts))
        commit = partial(finishing.commit_parts, lease=first, new_parts=parts, zombie_seconds=60.0)
        self.do("finishing.commit_parts", commit)
        self.release(first, None, Retry(delay=0.0, refund=True))
        self.do("finishing.finish", finish(*map(self.worker.result, rest)))
        one, two, *more = self.claim(EMBED)
        files = [(one, "vectors/1"), (two, "vectors/2")]
        self.do("finishing.add_vectors", partial(finishing.add_vectors, files=files))
        bad = {two.versions[0].id: BadChunk("no", position=0)}
        self.do("finishing.finish", finish(Finished(lease=two, failures=bad)))
        self.do("finishing.finish", finish(*map(self.worker.result, [one, *more])))
        self.do("finishing.finish", finish(*map(self.worker.result, self.claim(RETIRE))))

    def release(self, lease: Lease, error: VectorFlowError | None, decision: Decision) -> None:
        give_back = partial(
            releases.release, lease=lease, error=error, decision=decision, zombie_seconds=60.0
        )
        self.do("releases.release", give_back)

    def trouble(self) -> None:
        retry = Retry(delay=1.0, refund=False)
        lease, refused, *_ = self.claim(RETIRE, limit=9)
        self.release(lease, Unavailable("down"), retry)
        self.release(refused, KeyRefused("no"), Pause())
        self.place.pass_time()
        assert self.do("losses.reap", partial(losses.reap, zombie_seconds=60.0))
        self.do("transitions.give_way", partial(transitions.give_way, zombie_seconds=60.0))
        steer = {"tenant": TENANT, "job": self.job}
        self.do("transitions.pause", partial(transitions.pause, **steer))
        self.do("transitions.set_rest_aside", transitions.set_rest_aside)
        self.do("transitions.resume", partial(transitions.resume, **steer))
        cancel = partial(transitions.cancel, **steer, zombie_seconds=60.0)
        self.do("transitions.cancel", cancel)

    def mails(self) -> None:
        """Come with attachments, lose some of them while these are indexed, and are deleted."""
        names = [f"mail/{number}" for number in range(40)]
        self.place.submit(dict.fromkeys(names, "one"))
        first, again = {"a": "one", "b": "one"}, {"b": "two"}
        for inside in (first, again):
            self.worker.attached = dict.fromkeys(names, inside)
            self.do("finishing.finish", finish(*map(self.worker.result, self.claim(EXTRACT))))
            leases = [one for one in self.claim(EMBED) if one.versions[0].external_id in names]
            self.do("finishing.finish", finish(*map(self.worker.result, leases)))
            job = self.place.submit(dict.fromkeys(names, "two"))
        cancel = partial(transitions.cancel, tenant=TENANT, job=job, zombie_seconds=60.0)
        self.do("transitions.cancel", cancel)
        known = partial(serving.serving, index=1, scope="", ids=names, recipe=RECIPE)
        self.do("serving.serving", known)
        newest = list(range(HISTORY + 1, HISTORY + 99))
        self.do("serving.unsettled", partial(serving.unsettled, outers=newest))
        new = self.place.new_job()
        started = self.place.database.write_now(partial(submission.start_job, new=new))
        delete = partial(submission.delete_documents, job=started.job, zombie_seconds=60.0)
        self.do("submission.delete_documents", partial(delete, gone=names))

    def watchers(self) -> None:
        self.do("held.is_work", partial(held.is_work, kinds=list(BatchKind)))
        self.do("duties.overlooked", partial(duties.overlooked, seconds=5.0))
        self.do("duties.next_runs", duties.next_runs)
        for _ in range(2):
            self.do("duties.claim_duty", partial(duties.claim_duty, name="reap", every=0.0))
        expect = partial(duties.expect_duty, name="optimize", every=300.0)
        self.do("duties.expect_duty", expect)
        self.do("duties.note_duty", partial(duties.note_duty, name="reap", result="well"))
        failed = partial(duties.note_failed_duty, name="reap", code="unavailable", every=3.0)
        self.do("duties.note_failed_duty", failed)
        self.do("backlog.backlog", backlog.backlog)
        self.do("overview.overview", overview.overview)
        self.do("reads.job", partial(reads.job, tenant=TENANT, id=self.job))
        self.do("reads.job_progress", partial(reads.job_progress, id=self.job))
        self.do("reads.uploads", partial(reads.uploads, jobs=[self.job, 7]))
        failures = partial(reads.failures, tenant=TENANT, job=self.job)
        self.do("reads.failures", failures)
        for state in (None, VersionState.FAILED):
            page = partial(outcome_reads.job_documents, job=self.job, limit=100, state=state)
            self.do("outcome_reads.job_documents", page)
        causes = partial(outcome_reads.causes, tenant=TENANT, job=self.job, limit=100)
        self.do("outcome_reads.causes", causes)
        names = [f"old/{number}" for number in range(1, 30)]
        live = partial(reads.live_documents, index=1, external_ids=names)
        self.do("reads.live_documents", live)

    def evening(self) -> None:
        """Forget what is over, of some of the jobs that ended."""
        kept = Retention(versions=-1, attempts=-1, jobs=-1, failures=-1, keys=-1)
        self.do("retention.delete_keys", partial(retention.delete_keys, kept=kept))
        old = partial(retention.delete_retry_requests, kept=kept)
        self.do("retention.delete_retry_requests", old)
        look = partial(retention.next_jobs, after=0, kept=kept)
        jobs = self.do("retention.next_jobs", look)
        assert isinstance(jobs, retention.Stretch)
        for rule in retention.RULES:
            found = self.do("retention.next_jobs", rule.finding(jobs.ended[:9], kept))
            assert isinstance(found, list)
            if found:
                self.do("retention.next_jobs", rule.ending(found[:9]))


USED = {
    "claims.claim": [NEXT_WORK],
    "held.is_work": [NEXT_WORK],
    "duties.overlooked": [NEXT_WORK],
    "backlog.backlog": [NEXT_WORK],
    "overview.overview": [NEXT_WORK, JOBS_IN_STATE, VERSIONS_OF_JOB],
    "losses.reap": [RAN_OUT],
    "reads.job": [OF_JOB],
    "reads.uploads": [OF_JOB, VERSIONS_OF_JOB],
    "reads.job_progress": [VERSIONS_OF_JOB],
    "reads.failures": [VERSIONS_OF_JOB],
    "outcome_reads.job_documents": [VERSIONS_OF_JOB],
    "outcome_reads.causes": [VERSIONS_OF_JOB],
    "transitions.pause": [OF_JOB],
    "transitions.cancel": [OF_JOB, VERSIONS_OF_JOB],
    "transitions.give_way": [JOBS_IN_STATE],
    "transitions.set_rest_aside": [JOBS_IN_STATE],
    "retention.next_jobs": [OF_JOB, VERSIONS_OF_JOB],
    "submission.end_dead_listings": [JOBS_IN_STATE],
    "submission.accept": [BY_NAME],
    "serving.serving": [BY_NAME],
}
"""Indexes without which the work would grow with the history: one of each set is used."""

COLD = {
    "claims.ledger_id": "one row",
    "claims.load_parts": "a part of others",
    "finishing.lock_held": "a part of others",
    "finishing.lock_versions": "a part of others",
    "finishing.record_attempts": "a part of others",
    "finishing.end_batches": "a part of others",
    "finishing.end_retires": "a part of others",
    "losses.take_over": "once a start, of an embedded ledger",
    "transitions.set_aside": "a part of others",
    "transitions.mark_paused": "a part of others",
    "transitions.lock_job": "a part of others",
    "shares.note": "reads nothing",
    "shares.forget": "reads nothing",
    "shares.settle": "the end of each of these",
    "shares.weigh": "a person asks for it",
    "shares.weights": "a person asks for it",
    "retrying.discard_versions": "a person asks for it",
    "reads.job_page": "a page of the newest by key",
    "reads.row_counts": "a person asks for it",
    "reads.failed_by_tenant": "a person asks for it",
    "reads.paused_by_tenant": "a person asks for it",
    "retrying.retry": "a person asks for it",
    "retry_requests.begin": "a person asks for it",
    "retry_requests.retry": "a person asks for it",
    "retry_requests.end": "a person asks for it",
    "retrying.retriable_jobs": "a person asks for it",
    "retrying.discard": "a person asks for it",
    "submission.add_documents": "a part of others",
    "submission.in_scope": "reads a scope, which is its purpose",
    "submission.end_listing": "by key",
    "submission.pipeline_row": "a part of others",
    "duties.referenced_blobs": "reads everything, every ten minutes",
    "duties.written_indexes": "a small table",
    "reads.job_list": "the newest by key; reads.job is the same query",
    "reads.records": "reads an index, which is its purpose",
    "reads.live_parts": "reads an index, which is its purpose",
    "reads.find_index": "a small table",
    "reads.duty_list": "a small table",
    "reads.now": "no table",
    "exports.exported": "a small table",
    "exports.live_of_job": "an export reads a job",
    "exports.first_open": "an export reads a job",
    "exports.live_before_job": "an export reads a job",
    "exports.live_of_index": "an export reads an index",
    "exports.live_instead": "an export reads a job",
    "exports.live_versions": "an export reads a job",
    "exports.still_live": "an export reads a job",
    "exports.vector_files": "an export reads a job",
}
"""Why the rest is not looked at."""


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_ledger")
    return url


def test_hot_transactions_find_their_rows_by_an_index(place: Workplace) -> None:
    fill(place)
    day = Day(place)
    for work in (day.intake, day.work, day.trouble, day.mails, day.watchers, day.evening):
        work()

    assert [f"{name}: {plan}" for name, plan in day.each() if plan.scans] == []
    assert {name: day.indexes(name) for name in USED if day.lacks(name)} == {}
    looking = [plan for _, plan in day.each("claims.claim") if plan.indexes & NEXT_WORK]
    placing = [plan for _, plan in day.each("submission.accept") if plan.indexes & NEXT_WORK]
    assert placing
    placing = [plan for plan in placing if not plan.indexes & RAN_OUT]  # what is leased are few
    assert [plan for plan in looking + placing if plan.sorts] == []
    by_nothing = text("SELECT id FROM jobs WHERE lister = 'x'")
    day.watch.run(lambda connection: connection.execute(by_nothing))
    assert [plan.scans for plan in day.watch.plans] == [{"jobs"}]
    assert {f"{module}.{name}" for module, name in transactions()} == day.plans.keys() | COLD.keys()


def transactions() -> Iterator[tuple[str, str]]:
    """List the functions of these modules that work in a transaction."""
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and "connection" in inspect.signature(function).parameters:
                yield module.__name__.rpartition(".")[2], name
