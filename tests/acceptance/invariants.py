"""What must hold of a data directory once nothing is at work on it, whatever happened before."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, Row, Table, func, select

from vectorflow.domain.columns import integers, strings
from vectorflow.domain.documents import canonical_json
from vectorflow.domain.jobs import BatchState, JobState, Outcome, VersionState
from vectorflow.domain.pipelines import Pipeline
from vectorflow.domain.records import matrix_of
from vectorflow.ledger import reads
from vectorflow.ledger.claims import load_parts
from vectorflow.ledger.tables import attempts, batches, documents, indexes, jobs, versions
from vectorflow.ports.vector_store import Upkeep, VectorStore
from vectorflow.service.part_files import read_ids, read_parts
from vectorflow.service.search import Search, search
from vectorflow.settings import Settings
from vectorflow.wiring import Parts

SEARCHED = 12
"""Documents that are looked for by a search; all are compared with the store."""

COLUMNS = ["start", "end", "record_id", "first_version", "text"]

SAME_VECTOR = {"hash": 1e-6, "local": 2e-2}
"""Model runs of other sizes may differ in the last digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A live document and its manifest."""

    external_id: str
    metadata: str
    rows: pa.Table


def check(settings: Settings, *expected: Mapping[str, str], index: str | None = None) -> None:
    """Demand that exactly these documents (text by external id, a mapping for each scope) are live.

    And that the store holds exactly their records, that all is accounted for, and nothing is left
    to do.
    """
    asyncio.run(_check(settings, expected, index))


async def _check(
    settings: Settings, expected: Sequence[Mapping[str, str]], index: str | None
) -> None:
    async with Parts(settings) as parts:
        database, pipeline = parts.database, parts.pipeline(index)
        await database.read(all_has_ended)
        await database.read(_all_tries_are_written)
        await database.read(job_counters_add_up)
        await nothing_differs(parts)
        find = partial(
            reads.find_index, tenant=parts.tenant, locator=pipeline.store, name=pipeline.index
        )
        row = await database.read(find)
        assert row is not None, f"the ledger knows no index {pipeline.index!r}"
        live = await live_documents(parts, row.id)
        wanted = Counter(item for texts in expected for item in texts.items())
        texts_are_right(live, wanted)
        store = await parts.store(pipeline.store)
        await _store_is_right(parts, store, pipeline, row.id, live)
        await _searches_find(parts, store, pipeline, row.id, live)


def _rows(connection: Connection, table: Table) -> list[Row[Any]]:
    return list(connection.execute(select(table)))


def all_has_ended(connection: Connection) -> None:
    open_jobs = [row.id for row in _rows(connection, jobs) if not JobState(row.state).ended]
    assert not open_jobs, f"jobs {open_jobs} have not ended"
    waiting = {BatchState.READY, BatchState.LEASED}
    left = [(row.id, row.kind, row.state) for row in _rows(connection, batches)]
    assert not [batch for batch in left if batch[2] in waiting], f"batches are left: {left}"
    for row in _rows(connection, versions):
        assert row.state not in {VersionState.WAITING, VersionState.INDEXING}, f"open: {row}"
        assert row.batch_id is None, f"held by a batch that has ended: {row}"
        assert row.ended_at is not None, f"ended without a time: {row}"
    states = {row.id: VersionState(row.state) for row in _rows(connection, versions)}
    for row in _rows(connection, documents):
        assert (row.open_version, row.next_version) == (None, None), f"open: {row}"
        assert row.live_version is None or states[row.live_version] is VersionState.LIVE, f"{row}"
    served = {row.live_version for row in _rows(connection, documents)} - {None}
    assert served == {key for key, state in states.items() if state is VersionState.LIVE}


def _all_tries_are_written(connection: Connection) -> None:
    """Each claim has one row in `attempts`, and the counters of a batch tell the same."""
    tries: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(select(attempts).order_by(attempts.c.epoch)):
        tries.setdefault(row.batch_id, []).append(row)
    for batch in _rows(connection, batches):
        own = tries.get(batch.id, [])
        outcomes = Counter(row.outcome for row in own)
        assert [row.epoch for row in own] == list(range(1, batch.lease_epoch + 1)), f"{batch}"
        assert outcomes[Outcome.LOST] == batch.lost, f"{batch} was lost otherwise: {outcomes}"
        if batch.state != BatchState.CANCELLED:
            counted = outcomes[Outcome.OK] + outcomes[Outcome.ERROR]
            assert batch.attempt == counted, f"{batch} had other tries: {outcomes}"
        if batch.state == BatchState.DONE:
            assert outcomes[Outcome.OK] == 1, f"{batch} was finished otherwise: {outcomes}"
            assert own[-1].outcome == Outcome.OK, f"{batch} was tried after its end"


def job_counters_add_up(connection: Connection) -> None:
    done = {VersionState.LIVE, VersionState.RETIRED, VersionState.SUPERSEDED}
    ended: Counter[tuple[int, bool]] = Counter()
    for row in _rows(connection, versions):
        assert row.state in {*done, VersionState.FAILED}, f"{row}"
        ended[row.job_id, row.state != VersionState.FAILED] += 1
    spent = {row.job_id: row for row in connection.execute(_spent_by_job())}
    for job in _rows(connection, jobs):
        listed = job.documents_new + job.documents_changed + job.documents_gone
        assert job.docs_total == listed, f"{job}"
        assert (job.docs_done, job.docs_failed) == (ended[job.id, True], ended[job.id, False])
        assert job.docs_total == job.docs_done + job.docs_failed, f"{job}"
        assert job.cleanup_open == 0, f"{job}"
        assert job.ended_at is not None, f"{job}"
        own = spent.get(job.id)
        for name in ("chunks_embedded", "embedding_calls", "tokens"):
            assert getattr(job, name) == (getattr(own, name) if own else 0), f"{name} of {job}"


def _spent_by_job() -> Any:  # noqa: ANN401 - the type of a SELECT says nothing more
    sums = [
        func.sum(attempts.c[name]).label(name)
        for name in ("chunks_embedded", "embedding_calls", "tokens")
    ]
    joined = attempts.join(batches, batches.c.id == attempts.c.batch_id)
    return select(batches.c.job_id, *sums).select_from(joined).group_by(batches.c.job_id)


async def nothing_differs(parts: Parts) -> None:
    """What `vectorflow reconcile` finds: laws of the ledger, blobs, ids in stores."""
    report = await parts.reconcile()
    assert not report.differences, f"{report.differences}"


async def live_documents(parts: Parts, index: int) -> list[Live]:
    def read(connection: Connection) -> list[tuple[Row[Any], list[Any]]]:
        live = (
            select(documents.c.external_id, versions.c.id, versions.c.metadata, versions.c.rows)
            .join(versions, versions.c.id == documents.c.live_version)
            .where(documents.c.index_id == index, documents.c.deleted_at.is_(None))
        )
        rows = list(connection.execute(live))
        manifests = load_parts(connection, [row.id for row in rows])
        return [(row, manifests.get(row.id, [])) for row in rows]

    found: list[Live] = []
    for row, manifest in await parts.database.read(read):
        rows = await read_parts(parts.blobs, manifest, COLUMNS)
        assert rows is not None, f"{row.external_id!r} is live without a chunk"
        assert len(rows) == row.rows, f"{row.external_id!r} counts other rows than it has"
        metadata = canonical_json(row.metadata)
        found.append(Live(external_id=row.external_id, metadata=metadata, rows=rows))
    return found


def texts_are_right(live: Sequence[Live], wanted: Counter[tuple[str, str]]) -> None:
    """The live documents are those expected, and their chunks cover them."""
    names = Counter(document.external_id for document in live)
    expected = Counter(name for name, _ in wanted.elements())
    assert names == expected, f"not live: {expected - names}; live: {names - expected}"
    left = wanted.copy()
    for document in live:
        fitting = [
            (name, text)
            for name, text in left
            if name == document.external_id and left[name, text] and _covers(document, text)
        ]
        assert fitting, f"the chunks of {document.external_id!r} are not those of its text"
        left[fitting[0]] -= 1


def _covers(document: Live, text: str) -> bool:
    covered = np.zeros(len(text), dtype=bool)
    rows = document.rows
    spans = zip(integers(rows, "start"), integers(rows, "end"), strict=True)
    for (start, end), chunk in zip(spans, strings(rows, "text"), strict=True):
        if text[start:end] != chunk:
            return False
        covered[start:end] = True
    return all(text[place].isspace() for place in np.flatnonzero(~covered))


async def _store_is_right(
    parts: Parts, store: VectorStore, pipeline: Pipeline, index: int, live: Sequence[Live]
) -> None:
    """Set equality of ids, seen without the product's own check, and every column of records."""
    assert isinstance(store, Upkeep)
    held = [key async for page in store.ids(pipeline.index) for key in page]
    manifest = await parts.database.read(partial(reads.live_parts, index=index))
    assert sorted(held) == sorted(await read_ids(parts.blobs, manifest)), "other ids are stored"
    stored = {row["id"]: row for row in (await store.fetch(pipeline.index, held)).to_pylist()}
    for document in live:
        for row in document.rows.to_pylist():
            record = stored[row["record_id"]]
            got = [record[name] for name in ("text", "document", "metadata", "version")]
            assert got == [
                row["text"], document.external_id, document.metadata, row["first_version"],
            ]  # fmt: skip
    await _vectors_are_right(parts, pipeline, await store.fetch(pipeline.index, held))


async def _vectors_are_right(parts: Parts, pipeline: Pipeline, records: pa.Table) -> None:
    embedder = await parts.embedder(pipeline.embedder)
    wanted = await embedder.embed(strings(records, "text"), "document")
    got = matrix_of(records["vector"], embedder.fingerprint.dimensions)
    tolerance = SAME_VECTOR[pipeline.embedder.partition(":")[0]]
    assert np.allclose(got, wanted, atol=tolerance), "a vector is not that of its text"


async def _searches_find(
    parts: Parts, store: VectorStore, pipeline: Pipeline, index: int, live: Sequence[Live]
) -> None:
    embedder = await parts.embedder(pipeline.embedder)
    for document in live[:: max(1, len(live) // SEARCHED)]:
        text = strings(document.rows, "text")[0]
        vectors = await embedder.embed([text], "query")
        wanted = Search(index=index, name=pipeline.index, vector=vectors[0], k=20)
        hits = await search(parts.database, parts.blobs, store, wanted)
        found = {hit.document.external_id for hit in hits if hit.text == text}
        assert document.external_id in found, f"{document.external_id!r} is not found"


def index_rows(settings: Settings) -> int:
    """Count the indexes of a ledger."""

    async def count() -> int:
        async with Parts(settings) as parts:
            return len(await parts.database.read(partial(_rows, table=indexes)))

    return asyncio.run(count())
