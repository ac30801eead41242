from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Self, cast

import numpy as np
import pyarrow as pa
import pytest

from vectorflow.adapters.embedders.hash import HashEmbedder
from vectorflow.adapters.vector_stores.memory import MemoryVectorStore
from vectorflow.domain.credentials import Credentials
from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.records import Matrix, record_schema, vector_column
from vectorflow.errors import BadChunk, Unavailable
from vectorflow.ports.embedder import Embedder, Purpose
from vectorflow.ports.hooks import Candidate, Delivery, Fetched, Hooks, Valid
from vectorflow.ports.vector_store import VectorStore
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob, Work
from vectorflow.service.embed import Target
from vectorflow.service.extract import DELIVERED_CHUNKS, Cutters
from vectorflow.testing.workplace import PIPELINE
from vectorflow.worker.files import SharedFiles
from vectorflow.worker.targets import MOST, Targets, Workshop

NOBODY = cast("Work", None)
"""Nothing is asked of the ledger here."""


class Closable(HashEmbedder):
    closed = False

    async def __aexit__(self, *exc: object) -> None:
        self.closed = True

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Matrix:
        if self.closed:
            raise Unavailable("closed")
        return await super().embed(texts, purpose)


class ClosableStore(MemoryVectorStore):
    closed = False

    async def __aexit__(self, *exc: object) -> None:
        self.closed = True

    async def upsert(self, index: str, records: pa.Table) -> None:
        if self.closed:
            raise Unavailable("closed")
        await super().upsert(index, records)


@dataclass
class Received(Hooks):
    deliveries: list[Delivery] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def deliver(self, url: str, key: str, delivery: Delivery) -> None:
        assert (url, key) == ("https://example.org/in", "secret")
        self.deliveries.append(delivery)

    async def validate(self, url: str, candidates: Sequence[Candidate]) -> Sequence[Valid]:
        raise NotImplementedError

    def fetch(self, url: str, *, limit: int) -> AbstractAsyncContextManager[Fetched]:
        raise NotImplementedError


class Bench(Workshop):
    def __init__(self) -> None:
        self.open: Closable = Closable("8")
        self.open_store = ClosableStore(PIPELINE.store)
        self.received = Received()

    async def reopen(self) -> None:
        """What happens to a thing that nobody asked for lately, and its next user."""
        await self.open.__aexit__()
        await self.open_store.__aexit__()
        self.open, self.open_store = Closable("8"), ClosableStore(PIPELINE.store)

    async def store(self, locator: str, key: str | None = None) -> VectorStore:
        assert locator == PIPELINE.store
        return self.open_store

    async def embedder(self, name: str, key: str | None = None) -> Embedder:
        return self.open

    async def hooks(self) -> Hooks:
        return self.received

    async def cutters(self, lease: Lease) -> Cutters:
        raise NotImplementedError


def lease(**given: str) -> Lease:
    return Lease(
        batch=1,
        epoch=1,
        kind=BatchKind.EMBED,
        seconds=60.0,
        attempt=1,
        job=LeasedJob(id=7, tenant="default", document_id="doc", credentials=Credentials(**given)),
        pipeline=PIPELINE,
        index=LeasedIndex(id=1, ledger="ledger", incarnation="1", written=False),
        versions=(),
        vectors=(),
    )


def records(count: int) -> pa.Table:
    return pa.table(
        {
            "id": [f"00000000-0000-0000-0000-{number:012}" for number in range(count)],
            "vector": vector_column(np.ones((count, 8), dtype=np.float32)),
            "text": [f"text {number}" for number in range(count)],
            "document": ["doc"] * count,
            "version": [1] * count,
            "metadata": ["{}"] * count,
        },
        schema=record_schema(8),
    )


async def embedded(target: Target, text: str) -> int:
    answers: AsyncGenerator[object] = target.embed([text.encode().ljust(16)], [text], [1])
    return len([answer async for answer in answers])


async def test_what_was_closed_and_opened_anew_is_used_anew() -> None:
    bench = Bench()
    targets = Targets(NOBODY, bench, SharedFiles(NOBODY))
    target = await targets.of(lease())
    assert await embedded(target, "a") == 1
    await target.write(records(1))

    await bench.reopen()
    target = await targets.of(lease())

    assert await embedded(target, "b") == 1
    await target.write(records(2))


async def test_batches_of_one_account_share_a_stream_and_those_of_two_do_not() -> None:
    targets = Targets(NOBODY, Bench(), SharedFiles(NOBODY))

    one = await targets.of(lease(embedding_key="a", store_key="a"))
    same = await targets.of(lease(embedding_key="a", store_key="a"))
    other = await targets.of(lease(embedding_key="b", store_key="b"))

    assert (one.embed, one.write) == (same.embed, same.write)
    assert one.embed != other.embed
    assert one.write != other.write


async def test_keys_that_come_once_are_not_remembered_for_ever() -> None:
    targets = Targets(NOBODY, Bench(), SharedFiles(NOBODY))
    first = await targets.of(lease(embedding_key="first", store_key="first"))

    for number in range(MOST):
        await targets.of(lease(embedding_key=f"{number}", store_key=f"{number}"))

    assert (await targets.of(lease(embedding_key="first", store_key="first"))).embed != first.embed


async def test_a_refused_record_of_many_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ClosableStore, "batch_records", 2)
    bench = Bench()
    target = await Targets(NOBODY, bench, SharedFiles(NOBODY)).of(lease())
    given = records(5).to_pylist()
    given[3]["text"] = "a NUL \0"

    with pytest.raises(BadChunk) as caught:
        await target.write(pa.Table.from_pylist(given, schema=record_schema(8)))

    assert caught.value.position == 3


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, [3]), (2 * DELIVERED_CHUNKS + 1, [DELIVERED_CHUNKS] * 2 + [1])]
)
async def test_a_delivery_holds_only_so_many_chunks(count: int, sizes: list[int]) -> None:
    bench = Bench()
    given = lease(webhook_url="https://example.org/in", webhook_key="secret")
    delivering = replace(given, pipeline=replace(PIPELINE, store="webhook://example.org"))
    target = await Targets(NOBODY, bench, SharedFiles(NOBODY)).of(delivering)

    await target.write(records(count))

    got = bench.received.deliveries
    assert [len(one.texts) for one in got] == sizes
    assert [len(one.vectors) for one in got] == sizes
    assert [text for one in got for text in one.texts] == [f"text {n}" for n in range(count)]
