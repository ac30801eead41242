"""Exports while jobs run, and over HTTP from a real server."""

import asyncio
import io
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from sqlalchemy import func, update

import vectorflow as vf
from tests.exporting import (
    Row,
    add,
    begin,
    embed,
    end,
    index_rows,
    is_exact,
    job_rows,
    long_text,
    of_job,
    opened,
    origin_of,
    until,
    until_ended,
    working,
)
from tests.integration.local_servers import Server, serving
from tests.served import served
from tests.unit.api.door import EMBEDDINGS, KEY, form
from vectorflow.errors import Conflict, NotFound, VectorFlowError
from vectorflow.flow.engine import Engine
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import batches

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
SHORT = EMBEDDINGS | {"chunk_size": 8, "chunk_overlap": 0}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(tmp_path) as engine:
        yield engine


class Follower:
    """Takes in what an export of a running job gives."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.quiet = 0
        self.ended = False

    @asynccontextmanager
    async def following(self, engine: Engine, job: int) -> AsyncIterator[None]:
        async def follow() -> None:
            async for table in of_job(await origin_of(engine), job):
                self.quiet += not len(table)
                self.texts += [str(text) for text in table["text"].to_pylist()]
            self.ended = True

        task = asyncio.create_task(follow())
        yield
        await asyncio.wait_for(task, 60)


async def test_a_running_job_gives_documents_as_they_go_live_and_ends_with_it(
    engine: Engine,
) -> None:
    job, follower = await begin(engine), Follower()
    await add(engine, job, {"a": "first", "b": "second"})

    async with follower.following(engine, job):
        await until(lambda: follower.quiet > 1)
        assert await job_rows(engine, job, wait=False) == []
        async with working(engine.parts):
            await until(lambda: sorted(follower.texts) == ["first", "second"])
            await add(engine, job, {"c": "third"})
            await until(lambda: follower.texts[2:] == ["third"])
            assert not follower.ended
            await end(engine, job)
            await until(lambda: follower.ended)

    assert len(follower.texts) == 3


async def test_a_job_that_is_paused_gives_what_there_is_and_breaks_off_with_the_reason(
    engine: Engine,
) -> None:
    job, follower = await begin(engine), Follower()
    await add(engine, job, {"a": "first"})

    async def follow() -> None:
        async with follower.following(engine, job), working(engine.parts):
            await until(lambda: follower.texts == ["first"])
            await engine.pause(job)

    with pytest.raises(Conflict, match=f"job {job} is paused: somebody paused it; .*ask for"):
        await follow()

    assert [row["text"] for row in await job_rows(engine, job, wait=False)] == ["first"]
    await engine.resume(job)
    await end(engine, job)
    await until_ended(engine.parts, job)
    assert [row["text"] for row in await job_rows(engine, job)] == ["first"]


async def test_an_early_document_that_takes_long_neither_holds_up_nor_repeats_others(
    engine: Engine,
) -> None:
    job, follower = await begin(engine), Follower()
    await add(engine, job, {"slow": "slow"})
    await rename_batches(engine, "ready", "hidden")

    async with follower.following(engine, job), working(engine.parts):
        for number in range(3):
            await add(engine, job, {f"d{number}": f"text {number}"})
            await until(lambda number=number: len(follower.texts) > number)
        await end(engine, job)
        await rename_batches(engine, "hidden", "ready")
        await until(lambda: follower.ended)

    assert follower.texts == ["text 0", "text 1", "text 2", "slow"]


async def rename_batches(engine: Engine, state: str, to: str) -> None:
    """Hide what waits from workers, or show it again."""
    renamed = update(batches).where(batches.c.state == state).values(state=to)
    await engine.parts.database.write(lambda ledger: ledger.execute(renamed))


async def test_the_twin_of_a_document_that_waited_gives_the_version_that_went_live(
    engine: Engine,
) -> None:
    first, second = await begin(engine), await begin(engine)
    for job in (first, second):
        await add(engine, job, {"a": "same"})
        await end(engine, job)
    await until_ended(engine.parts, second)

    assert [row["text"] for row in await job_rows(engine, first)] == ["same"]
    assert await job_rows(engine, second) == await job_rows(engine, first)


async def test_a_ledger_in_postgresql_gives_the_same(
    postgres_database: str, tmp_path: Path
) -> None:
    database = Database(postgres_database)
    schema.upgrade(database)
    database.close()
    async with opened(tmp_path, **{"database.url": postgres_database}) as engine:
        first = await embed(engine, {"a.md": long_text(1500), "ü": "old"})
        second = await embed(engine, {"ü": "new"})

        assert len(await job_rows(engine, first.job_id)) == 1500
        assert [row["text"] for row in await job_rows(engine, second.job_id)] == ["new"]
        rows = await index_rows(engine, "a.md", "ü")
        assert len(rows) == 1501
        assert await is_exact(engine, rows)


@pytest.fixture
async def serving_engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine whose server calls webhooks on this machine."""
    async with opened(tmp_path, **{"api.key": KEY, "hooks.allow": "127.0.0.1"}) as engine:
        yield engine


@pytest.fixture
async def client(serving_engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server on that engine's data directory."""
    headers = {"vectorflowkey": KEY}
    with served(serving_engine.parts.settings) as server:
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as connected:
            yield connected


@asynccontextmanager
async def receiver() -> AsyncIterator[Server]:
    """A webhook that takes everything."""

    async def take(_request: web.Request) -> web.StreamResponse:
        return web.Response()

    async with serving(take) as server:
        yield server


async def upload(client: httpx.AsyncClient, text: str, **fields: object) -> int:
    """Upload by the route that does not wait for the text to be cut."""
    answer = await client.post(
        "/jobs",
        data=form(EmbeddingsMetadata=SHORT, **fields),
        files={"file": ("a.md", text.encode())},
        headers={"x-webhook-key": "hook"},
    )
    assert answer.status_code == 200, answer.text
    job: int = answer.json()["successful_uploads"]["a.md"]
    return job


def vectors_of(client: httpx.AsyncClient, job: int, accept: str = "*/*") -> httpx.Request:
    return client.build_request("GET", f"/v1/jobs/{job}/vectors", headers={"accept": accept})


def lines_of(body: bytes) -> list[Row]:
    return [json.loads(line) for line in body.splitlines()]


async def test_all_formats_give_the_same_records_exactly(
    client: httpx.AsyncClient, serving_engine: Engine
) -> None:
    job = await upload(client, long_text(1300, "Größe"), DocumentID="ü", Metadata={"n": [1]})
    await until_ended(serving_engine.parts, job)

    answers = [
        await client.send(vectors_of(client, job, accept)) for accept in ("*/*", ARROW, PARQUET)
    ]

    *rows, last = lines_of(answers[0].content)
    arrow = pa.ipc.open_stream(answers[1].content).read_all()
    parquet = pq.read_table(io.BytesIO(answers[2].content))
    assert [answer.headers["content-type"] for answer in answers] == [
        "application/x-ndjson",
        ARROW,
        PARQUET,
    ]
    assert last == {"end": True, "records": 1300}
    assert answers[1].content.endswith(b"\xff\xff\xff\xff\0\0\0\0")
    assert parquet.equals(arrow)
    assert await is_exact(serving_engine, rows)
    assert await is_exact(serving_engine, arrow.to_pylist())
    assert [row["text"] for row in rows] == arrow["text"].to_pylist()
    assert rows[7]["metadata"] == json.loads(str(arrow["metadata"][7])) == {"n": [1]}
    assert {row["document"] for row in rows} == {"ü"}


async def test_what_a_webhook_got_can_be_downloaded(
    client: httpx.AsyncClient, serving_engine: Engine
) -> None:
    async with receiver() as hook:
        job = await upload(client, long_text(1200), WebhookURL=f"http://127.0.0.1:{hook.port}/in")
        await until_ended(serving_engine.parts, job)

    *rows, last = lines_of((await client.send(vectors_of(client, job))).content)

    sent = [item for body in hook.bodies for item in json.loads(body)["Embeddings"]]
    assert last == {"end": True, "records": 1200}
    assert {str(item["chunk_id"]) for item in sent} == {str(row["id"]) for row in rows}
    assert await is_exact(serving_engine, rows)


async def test_vectors_that_are_not_kept_any_more_are_404_and_say_what_to_do(
    client: httpx.AsyncClient, serving_engine: Engine
) -> None:
    async with receiver() as hook:
        job = await upload(client, "short", WebhookURL=f"http://127.0.0.1:{hook.port}/in")
        await until_ended(serving_engine.parts, job)
    await lose_vectors(serving_engine, since=0)

    for accept in ("*/*", ARROW, PARQUET):
        answer = await client.send(vectors_of(client, job, accept))
        assert answer.status_code == 404
        said = answer.json()
        assert "not kept any more" in said["detail"]
        assert said["fix"].startswith("send it again")


async def lose_vectors(engine: Engine, *, since: int) -> None:
    """Let the vectors of a document be gone from a part on; several parts may share a file."""
    lost = func.coalesce(batches.c.part, 0) >= since
    gone = update(batches).where(lost).values(vectors=["vectors/gone.arrow"])
    await engine.parts.database.write(lambda ledger: ledger.execute(gone))


async def test_vectors_lost_in_the_middle_break_the_stream_off(
    client: httpx.AsyncClient, serving_engine: Engine
) -> None:
    async with receiver() as hook:
        job = await upload(client, long_text(3000), WebhookURL=f"http://127.0.0.1:{hook.port}/in")
        await until_ended(serving_engine.parts, job)
    await lose_vectors(serving_engine, since=4)

    lines = lines_of((await client.send(vectors_of(client, job))).content)

    assert len(lines) > 1000
    assert lines[-1].keys() == {"error", "code"}
    assert "not kept any more; send it again" in str(lines[-1]["error"])
    for accept in (ARROW, PARQUET):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.send(vectors_of(client, job, accept))


async def test_a_running_job_answers_at_once_and_ends_when_it_has(
    client: httpx.AsyncClient, serving_engine: Engine
) -> None:
    job = await upload(client, "One. Two.")
    answer = await client.send(vectors_of(client, job), stream=True)

    assert answer.status_code == 200
    await until_ended(serving_engine.parts, job)
    *rows, last = lines_of(await answer.aread())
    assert last == {"end": True, "records": len(rows)}
    assert rows


async def test_a_stream_ends_when_its_job_is_paused_and_can_be_had_again(
    client: httpx.AsyncClient, serving_engine: Engine
) -> None:
    job = await upload(client, "One. Two.")
    begun = [
        await client.send(vectors_of(client, job, kind), stream=True) for kind in ("*/*", ARROW)
    ]

    await client.post(f"/v1/jobs/{job}:pause")
    [last] = lines_of(await begun[0].aread())
    with pytest.raises(httpx.RemoteProtocolError):
        await begun[1].aread()
    refused = await client.send(vectors_of(client, job))
    at_once = await client.get(f"/v1/jobs/{job}/vectors?wait=false")
    await client.post(f"/v1/jobs/{job}:resume")
    await until_ended(serving_engine.parts, job)
    again = lines_of((await client.send(vectors_of(client, job))).content)

    assert last["code"] == "conflict"
    assert f"job {job} is paused" in str(last["error"])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert lines_of(at_once.content) == [{"end": True, "records": 0}]
    assert again[-1] == {"end": True, "records": len(again) - 1}
    assert len(again) > 1


async def test_who_goes_away_keeps_nobody_waiting(client: httpx.AsyncClient) -> None:
    job = await upload(client, "One.")
    for _ in range(20):  # more than there are connections to the ledger
        answer = await client.send(vectors_of(client, job), stream=True)
        await answer.aclose()

    assert (await client.get(f"/jobs/{job}/status")).json() == {"JobStatus": "NOT_STARTED"}


def test_python_reads_an_index_batch_by_batch(tmp_path: Path) -> None:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        report = flow.embed([{"id": f"d{n}", "text": f"text {n}"} for n in range(2000)])
        reader = flow.export()
        table = reader.read_all()
        some = flow.export(documents=["d7", "nobody"]).read_all()
        one = flow.export(documents="d8").read_all()
        vectors = flow.vectors([str(text) for text in table["text"].to_pylist()]).matrix

    assert report.listed[:2] == ("d0", "d1")
    assert len(table.to_batches()) > 1
    assert table["document"].to_pylist() == [f"d{n}" for n in range(2000)]
    assert (np.array(table["vector"].to_pylist(), dtype=np.float32) == vectors).all()
    assert some["text"].to_pylist() == ["text 7"]
    assert one["text"].to_pylist() == ["text 8"]


async def test_both_faces_of_python_read_the_same(tmp_path: Path) -> None:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        flow.embed([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
        table = flow.export(documents=["a", "b"], scope="").read_all()
        assert flow.export(scope="elsewhere").read_all().num_rows == 0
    async with vf.aopen(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        batches_read = [batch async for batch in flow.export(documents=["a", "b"], scope="")]

    assert pa.Table.from_batches(batches_read).equals(table)


def test_python_says_that_there_is_no_index_and_what_is_lost(tmp_path: Path) -> None:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        with pytest.raises(NotFound, match="embed something into it first"):
            flow.export()
        flow.embed([{"id": "a", "text": "one"}])
        shutil.rmtree(tmp_path / "data" / "vectors")
        with pytest.raises(VectorFlowError):
            flow.export().read_all()


def test_a_reader_that_is_not_read_to_its_end_holds_nothing_up(tmp_path: Path) -> None:
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        flow.embed([{"id": f"d{n}", "text": f"text {n}"} for n in range(1500)])
        begun = flow.export()
        next(iter(begun))
        assert flow.embed([{"id": "d1", "text": "other"}]).changed == 1
