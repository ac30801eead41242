"""Records that a worker sends through the API: in calls that a slow line gets through."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from aiohttp import web

from vectorflow.adapters._work_client import WorkClient
from vectorflow.adapters.vector_stores import remote
from vectorflow.adapters.vector_stores.remote import CALL_BYTES, ApiVectorStore
from vectorflow.errors import BadChunk
from vectorflow.testing.records import records_of

Answer = Callable[[pa.Table], web.Response]

FRAMING = 4096
"""Bytes of an Arrow stream beside its records."""


class Desk:
    """Stands where the API does, and notes what it is sent."""

    def __init__(self, answer: Answer = lambda _: web.Response(status=204)) -> None:
        self._answer = answer
        self.bytes: list[int] = []
        self.ids: list[list[str]] = []

    async def upsert(self, request: web.Request) -> web.Response:
        body = await request.read()
        records = pa.ipc.open_stream(body).read_all()
        self.bytes.append(len(body))
        self.ids.append(records["id"].to_pylist())
        return self._answer(records)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[ApiVectorStore]:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/work/store/upsert", self.upsert)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with WorkClient(url, "a-key", worker="here") as client:
                yield ApiVectorStore(client, lambda _: {1: 1}, timeout=30.0)
        finally:
            await runner.cleanup()


async def test_many_records_travel_in_calls_of_a_few_megabytes() -> None:
    desk, records = Desk(), records_of(np.ones((1_500, 1_536), np.float32))

    async with desk.store() as store:
        await store.upsert("docs", records)

    assert list(chain(*desk.ids)) == records["id"].to_pylist()
    assert max(desk.bytes) <= CALL_BYTES + FRAMING
    assert min(desk.bytes) > CALL_BYTES / 4


async def test_few_records_travel_together_and_a_long_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, few, long = Desk(), records_of(np.ones((9, 4))), records_of(np.ones((3, 4_000)))
    monkeypatch.setattr(remote, "CALL_BYTES", few.nbytes)

    async with desk.store() as store:
        for records in (few, few.slice(0, 0), long):
            await store.upsert("docs", records)

    assert [len(ids) for ids in desk.ids] == [9, 0, 1, 1, 1]


async def test_a_chunk_that_is_refused_is_named_by_its_place_among_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = records_of(np.ones((8, 4)))
    last = records["id"][7].as_py()

    def refuse_the_last(some: pa.Table) -> web.Response:
        if last not in some["id"].to_pylist():
            return web.Response(status=204)
        return web.json_response({"code": "bad_chunk", "detail": "no", "fix": ""}, status=400)

    monkeypatch.setattr(remote, "CALL_BYTES", records.slice(0, 1).nbytes)
    async with Desk(refuse_the_last).store() as store:
        with pytest.raises(BadChunk) as refused:
            await store.upsert("docs", records)

    assert refused.value.position == 7
