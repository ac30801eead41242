"""What must hold when the storm is over: each invariant with its figure."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, func, select

from tests.acceptance import invariants
from tests.storm.clients import FolderClient, UploadClient
from tests.storm.documents import MARK
from tests.storm.site import DIMENSIONS, MODEL, Site
from tests.storm.weather import IN_FLIGHT, Weather
from tests.storm.witness import Seen, seen
from vectorflow.domain.columns import strings
from vectorflow.domain.jobs import BatchState, JobState, Outcome, VersionState
from vectorflow.domain.records import matrix_of
from vectorflow.domain.retries import MAX_DELAY
from vectorflow.ledger import reads
from vectorflow.ledger.tables import attempts, batches, credentials, documents, jobs, versions
from vectorflow.ports.vector_store import Upkeep
from vectorflow.service.part_files import read_ids
from vectorflow.testing.canary import find_canaries
from vectorflow.testing.ledgers import broken_laws
from vectorflow.testing.provider_vectors import vectors_of
from vectorflow.wiring import Parts

MOST_MEMORY = 400 << 20
"""Bytes of a worker, which holds no model here."""

REAP_SECONDS = 5.0
"""Until a lease that ran out is noticed and claimed."""

SAME = 1e-6


@dataclass(frozen=True, slots=True)
class Row:
    """One invariant."""

    what: str
    figure: str
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known when it is over."""

    site: Site
    weather: Weather
    folder: FolderClient
    uploads: UploadClient
    ended: bool
    """All was done before anybody lost patience."""
    recovery: float
    """Seconds from the last fault, or the last acceptance if that was later, to the end."""
    statuses: Mapping[str, int]
    """How those processes ended that were asked to, or ended with their job."""
    stats: Mapping[str, object]
    """Of the provider."""
    texts: Mapping[str, str] = field(default_factory=dict)

    def ask(self, query: Callable[[Connection], object]) -> object:
        return self.site.database.read_now(query)


def check(evidence: Evidence) -> list[Row]:
    """Look at everything."""
    stored = asyncio.run(_stored(evidence))
    found = seen(evidence.site.root / "witness", evidence.site.database)
    return [
        _outcomes(evidence),
        _job_status(evidence),
        _nothing_given_up(evidence),
        *stored,
        _tries(evidence),
        *_zombies(evidence, found),
        _paid(evidence, found),
        _throttled(evidence),
        _one_job_an_upload(evidence),
        _secrets(evidence),
        _memory(evidence),
        _nothing_left(evidence),
        _good_order(evidence),
        _deadlocks(evidence),
        _recovery(evidence),
    ]


def _demanded(what: str, figure: str, demand: Callable[[], object]) -> Row:
    """Hold an invariant if a demand is met; else its reason goes into the figure."""
    try:
        demand()
    except AssertionError as error:
        reason = (str(error).splitlines() or ["it does not hold"])[0]
        return Row(what, f"{figure}; {reason[:200]}", held=False)
    return Row(what, figure, held=True)


def _counted(evidence: Evidence, column: object) -> Counter[str]:
    found = evidence.ask(lambda connection: connection.execute(select(column)).scalars().all())
    return Counter(map(str, found))


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _outcomes(evidence: Evidence) -> Row:
    states = _counted(evidence, versions.c.state)
    owners = sum(_counted(evidence, documents.c.id).values())
    figure = f"{owners:,} documents, versions: {_told(states)}"
    return _demanded(
        "every accepted document has an outcome, and every job ends",
        figure,
        lambda: evidence.ask(invariants.all_has_ended),
    )


def _job_status(evidence: Evidence) -> Row:
    states = _counted(evidence, jobs.c.state)
    told = {name: code for name, code in evidence.statuses.items() if name.startswith("embed")}
    wrong = {name: code for name, code in told.items() if code != 0}

    def demand() -> None:
        evidence.ask(invariants.job_counters_add_up)
        assert not wrong or states.keys() != {JobState.COMPLETED}, f"commands ended with {wrong}"

    figure = f"jobs: {_told(states)}; commands that waited: {len(told)}"
    return _demanded("a job's status and counters are those of its documents", figure, demand)


def _nothing_given_up(evidence: Evidence) -> Row:
    letters = evidence.site.database.read_now(_dead_letters)
    dead = _counted(evidence, batches.c.state)[BatchState.DEAD]
    clients = [evidence.folder.failure, evidence.uploads.failure, *evidence.uploads.refused]
    refused = list(filter(None, clients))
    figure = f"{len(letters)} dead letters, {dead} dead batches, {len(refused)} refused for good"
    for odd in (*letters[:3], *refused[:1]):
        figure += f"; {odd}"
    held = not (letters or dead or refused)
    return Row("nothing is given up, as every fault here passes", figure, held)


def _dead_letters(connection: Connection) -> list[str]:
    """Give document and reason of each version that failed."""
    joined = versions.join(documents, documents.c.id == versions.c.document_id)
    failed = select(documents.c.external_id, versions.c.error).select_from(joined)
    rows = connection.execute(failed.where(versions.c.state == VersionState.FAILED))
    return [f"{row.external_id}: {row.error}" for row in rows]


async def _stored(evidence: Evidence) -> list[Row]:
    """Compare the store with the manifests, and both with the source."""
    async with Parts(evidence.site.settings) as parts:
        pipeline = parts.pipeline()
        find = partial(
            reads.find_index, tenant=parts.tenant, locator=pipeline.store, name=pipeline.index
        )
        index = await parts.database.read(find)
        if index is None:
            return [Row("the index is there", "it is not", held=False)]
        store = await parts.store(pipeline.store)
        assert isinstance(store, Upkeep)
        held = [key async for page in store.ids(pipeline.index) for key in page]
        manifest = await parts.database.read(partial(reads.live_parts, index=index.id))
        needed = await read_ids(parts.blobs, manifest)
        records = await store.fetch(pipeline.index, held)
        live = await invariants.live_documents(parts, index.id)
        reconciled = await _reconciled(parts)
    wanted = Counter(evidence.texts.items())
    chunks = sum(len(document.rows) for document in live)
    return [
        _ids(held, needed),
        _demanded(
            "each document is live with the text of its source, cut whole",
            f"{len(live):,} documents, {chunks:,} chunks",
            lambda: invariants.texts_are_right(live, wanted),
        ),
        _contents(records, live),
        _vectors(records),
        _stale(records, evidence),
        reconciled,
    ]


async def _reconciled(parts: Parts) -> Row:
    """Ask the product itself, which people will ask."""
    report = await parts.reconcile()
    found = [f"{each.where}: {each.what} ({each.count:,})" for each in report.differences]
    figure = "; ".join(found) or f"nothing differs in {', '.join(report.compared)}"
    return Row("what the ledger refers to is there", figure, held=not found)


def _ids(held: list[str], needed: list[str]) -> Row:
    missing, extra = len(set(needed) - set(held)), len(set(held) - set(needed))
    twice = len(held) + len(needed) - len(set(held)) - len(set(needed))
    figure = f"{len(held):,} = {len(needed):,}; missing {missing}, extra {extra}, twice {twice}"
    what = "the ids in the store are those of the live manifests"
    return Row(what, figure, not (missing or extra or twice))


def _contents(records: pa.Table, live: Iterable[invariants.Live]) -> Row:
    """Each record says what its manifest says."""
    stored = {row["id"]: row for row in records.to_pylist()}
    wrong = 0
    for document in live:
        for row in document.rows.to_pylist():
            record = stored.get(row["record_id"], {})
            got = [record.get(name) for name in ("text", "document", "metadata", "version")]
            told = [row["text"], document.external_id, document.metadata, row["first_version"]]
            wrong += got != told
    figure = f"{wrong} of {len(stored):,} records differ"
    return Row("each record holds text, document and metadata of its chunk", figure, wrong == 0)


def _vectors(records: pa.Table) -> Row:
    wanted = vectors_of(strings(records, "text"), DIMENSIONS, MODEL)
    got = matrix_of(records["vector"], DIMENSIONS)
    worst = float(np.abs(got - wanted).max()) if len(records) else 0.0
    what = "each vector is the provider's function of its text"
    return Row(what, f"{len(records):,} vectors, off by {worst:.1e} at most", worst < SAME)


def _stale(records: pa.Table, evidence: Evidence) -> Row:
    """Asked of the source, not of the ledger: what is deleted or was changed must not be found."""
    pairs = zip(strings(records, "document"), strings(records, "text"), strict=True)
    stale = sum(text not in evidence.texts.get(name, "") for name, text in pairs)
    edits = evidence.folder.edits + evidence.uploads.edits
    figure = f"{stale} stale records after {edits:,} edits in the storm"
    return Row("nothing stale stays", figure, stale == 0)


def _tries(evidence: Evidence) -> Row:
    outcomes = _counted(evidence, attempts.c.outcome)
    claims = evidence.ask(
        lambda connection: connection.execute(select(func.sum(batches.c.lease_epoch))).scalar()
    )
    broken = broken_laws(evidence.site.database, all_done=True)
    figure = f"{_told(outcomes)} = {outcomes.total():,} tries of {int(str(claims or 0)):,} leases"
    if broken:
        figure += f"; broken: {'; '.join(f'{law} ({len(rows)})' for law, rows in broken.items())}"
    return Row(
        "tries add up, each done batch has one ok, the ledger's laws hold", figure, not broken
    )


def _zombies(evidence: Evidence, found: Seen) -> list[Row]:
    """By what the workers themselves noted: a write that was accepted after its lease was lost."""
    pids = evidence.weather.frozen_pids
    stood = sum(found.lost[pid] for pid in pids)
    figure = f"{found.writes:,} accepted writes noted; {len(pids)} workers stood still and lost"
    figure += f" {stood} leases; written under a lost lease: {len(found.late)}"
    doubtful = f"{found.finishes:,} finishes noted; of another try: {len(found.foreign)}"
    return [
        Row("no write by a zombie", figure, not found.late),
        Row("who finished a batch is who is in the books", doubtful, not found.foreign),
    ]


def _paid(evidence: Evidence, found: Seen) -> Row:
    """No two texts of these documents are the same, so what comes twice is paid twice."""
    answered, twice = (int(str(evidence.stats[name])) for name in ("texts", "repeated_texts"))
    needed, weather = answered - twice, evidence.weather
    struck = weather.killed_pids | weather.frozen_pids
    others = sum(count for pid, count in found.let_go.items() if pid not in struck)
    figure = f"{answered:,} texts answered, {needed:,} needed ({answered / max(1, needed):.3f} x);"
    figure += f" {twice:,} twice; in flight where a worker was struck: {weather.at_risk:,} at most"
    if others:
        figure += f", and {others} batches let go by workers that were late"
    what = "texts answered <= needed + those in flight where a worker was struck"
    return Row(what, figure, twice <= weather.at_risk + others * IN_FLIGHT)


def _throttled(evidence: Evidence) -> Row:
    def tries(connection: Connection) -> tuple[int, int]:
        mine = select(func.count()).where(attempts.c.outcome == Outcome.THROTTLED)
        counted = select(func.count()).where(
            attempts.c.error == "throttled", attempts.c.outcome != Outcome.THROTTLED
        )
        return connection.execute(mine).scalar_one(), connection.execute(counted).scalar_one()

    refunded, counted = evidence.site.database.read_now(tries)
    answers = evidence.stats["by_status"]
    refused = answers.get("429", 0) if isinstance(answers, dict) else 0
    figure = f"{refused:,} answers 429, {refunded:,} tries handed back for it, {counted} counted"
    return Row("an answer 429 costs no attempt", figure, counted == 0 and refused > 0)


def _one_job_an_upload(evidence: Evidence) -> Row:
    keys = evidence.uploads.keys

    def kept(connection: Connection) -> dict[str, int]:
        found = select(jobs.c.idempotency_key, jobs.c.id).where(jobs.c.idempotency_key.is_not(None))
        return {row.idempotency_key: row.id for row in connection.execute(found)}

    known = evidence.site.database.read_now(kept)
    figure = f"sent {evidence.uploads.sent:,} times, answered {len(keys):,}, jobs {len(known):,}"
    return Row("an upload is one job, however often it is sent", figure, known == keys)


def _secrets(evidence: Evidence) -> Row:
    site, canaries = evidence.site, evidence.site.canaries
    logs = {process.name: process.log.read_bytes() for process in site.all}
    names = astuple(canaries)
    found = find_canaries(
        names, database=site.database, data_dir=site.root / "data", texts=logs
    ) + find_canaries([MARK], database=None, data_dir=None, texts=logs)
    size = sum(map(len, logs.values()))
    where = sorted({one.place for one in found})
    figure = f"{len(found)} places in ledger, files and {len(logs)} logs ({size >> 10:,} KiB)"
    if where:
        figure += f": {', '.join(where[:3])}"
    return Row("no key anywhere, no text in a log", figure, not found)


def _memory(evidence: Evidence) -> Row:
    peaks = [process.peak for process in evidence.site.all if process.name.startswith("worker")]
    most = max(peaks, default=0)
    figure = f"{most >> 20} MiB of {len(peaks)} workers at most; {MOST_MEMORY >> 20} are allowed"
    return Row("a worker's memory is bounded", figure, 0 < most <= MOST_MEMORY)


def _nothing_left(evidence: Evidence) -> Row:
    states = _counted(evidence, batches.c.state)
    kept = sum(_counted(evidence, credentials.c.job_id).values())
    left = states[BatchState.LEASED] + states[BatchState.READY]
    figure = f"batches: {_told(states)}; credentials kept: {kept}"
    return Row("nothing is left leased or ready, no credentials stay", figure, not (left or kept))


NOISE = "aiohttp.client_exceptions.ClientConnectionResetError"
"""What aiohttp leaves behind of a request whose worker stood still until the other side hung up;

the request itself ended with an error of ours.
"""


def _good_order(evidence: Evidence) -> Row:
    """No fault of ours came up, and who was asked to stop did."""
    logs = {p.name: p.log.read_text("utf-8", "replace") for p in evidence.site.all}
    faults = {
        name
        for name, said in logs.items()
        if "batch_failed" in said or set(_raised(said)) - {NOISE}
    }
    wrong = {name: code for name, code in evidence.statuses.items() if code != 0}
    gave_up = evidence.weather.gave_up
    figure = f"{len(evidence.statuses)} ended as asked; unexpected errors in {len(faults)} logs"
    figure += f"; ended by themselves: {len(gave_up)}"
    ends = sorted({end for name in faults for end in _raised(logs[name])})
    for odd in (sorted(faults), ends, sorted(wrong.items()), gave_up):
        figure += f"; {odd[:3]}" if odd else ""
    held = not (faults or wrong or gave_up)
    return Row("no unexpected error, and processes end in good order", figure, held)


def _deadlocks(evidence: Evidence) -> Row:
    servers = evidence.site.servers
    told = {name: server.deadlocks() for name, server in servers.items()}
    figure = ", ".join(f"{name} told of {count} deadlocks" for name, count in told.items())
    return Row("locks are taken in one order", figure, not any(told.values()))


def _recovery(evidence: Evidence) -> Row:
    most = evidence.site.options.lease + REAP_SECONDS + MAX_DELAY
    figure = f"{evidence.recovery:.1f} s after them; {most:.0f} s are allowed"
    held = evidence.ended and evidence.recovery <= most
    return Row("all is done soon after the last fault and the last acceptance", figure, held)


def _raised(log: str) -> list[str]:
    """Name what each traceback of a log ends with."""
    return [_end_of_traceback(said) for said in log.split("Traceback")[1:]]


def _end_of_traceback(said: str) -> str:
    """Name what was raised, without its words."""
    raised = (line for line in said.splitlines()[1:] if line and not line.startswith((" ", "\t")))
    return next(raised, "an unknown error").partition(":")[0]
