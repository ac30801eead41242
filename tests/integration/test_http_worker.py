"""Workers that reach only the API, on real sockets."""

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from sqlalchemy import insert

from tests.served import KEY, Thread, http_work, served
from vectorflow import settings
from vectorflow.adapters._work_client import WorkClient
from vectorflow.adapters.blob_stores import http as blobs_over_http
from vectorflow.adapters.blob_stores.http import BlobCache, HttpBlobStore
from vectorflow.adapters.vector_stores.remote import ApiVectorStore
from vectorflow.domain.access import KeyScope
from vectorflow.domain.credentials import Credentials, account_of
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.domain.outages import SystemKind, called
from vectorflow.errors import (
    Forbidden,
    LeaseLost,
    NotFound,
    Permanent,
    Unauthorized,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ledger import keys, reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import credentials
from vectorflow.ports.work import Finished, Lease
from vectorflow.service.secrets import seal_credentials
from vectorflow.settings import Settings
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import (
    PIPELINE,
    TENANT,
    PretendWorker,
    Workplace,
    claim,
    claim_one,
)
from vectorflow.wiring.credentials import make_secrets
from vectorflow.wiring.remote import RemoteParts

CANARY = "canary-of-the-worker"


@pytest.fixture
def api(tmp_path: Path, sqlite_ledger: str) -> Iterator[Thread]:
    given = {
        "data_dir": tmp_path, "embedder": "hash:8", "api.key": KEY, "blobs.free_floor_bytes": 0,
    }  # fmt: skip
    assert sqlite_ledger == f"sqlite:///{tmp_path}/ledger.db"
    with served(settings.load(given, environ={}, directory=tmp_path)) as running:
        yield running


@pytest.fixture
def site(api: Thread, place_of: "partial[Workplace]") -> Iterator[Workplace]:
    database = Database(api.settings.database_url)
    yield place_of(database)
    database.close()


@asynccontextmanager
async def blobs_of(api: Thread, lease: Lease) -> AsyncIterator[HttpBlobStore]:
    async with WorkClient(api.url, KEY, worker="here") as client:
        yield HttpBlobStore(client, BlobCache(), {lease.batch: lease.epoch})


def remote_settings(folder: Path, url: str, **more: object) -> Settings:
    given = {"server.url": url, "server.key": KEY, "worker.poll_seconds": 0.05}
    return settings.load(given | more, environ={}, directory=folder)


async def test_blobs_are_read_from_threads_in_stretches_and_from_memory_the_second_time(
    api: Thread, site: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_over_http, "SPOOL_BYTES", 1 << 16)
    data = os.urandom(3 << 20)
    site.submit({"a": "one"})
    async with http_work(api.url, "here") as work:
        lease = await claim_one(work)
        async with blobs_of(api, lease) as writer:
            assert await writer.put("manifests/m", [data[:1000], data[1000:]]) == len(data)
        async with blobs_of(api, lease) as blobs:
            with await asyncio.to_thread(blobs.open, "manifests/m", 7, 1 << 20) as stretch:
                stretch.seek(-5, io.SEEK_END)
                assert stretch.read() == data[7 : 7 + (1 << 20)][-5:]
                stretch.seek(0)
                assert stretch.read(9) == data[7:16]
            assert await blobs.read("manifests/m") == data
            with pytest.raises(NotFound):
                await blobs.read("manifests/none")
            api.stop()
            assert await blobs.read("manifests/m", 10, 20) == data[10:30]
        api.start()


async def test_blobs_are_neither_listed_nor_deleted(api: Thread, site: Workplace) -> None:
    site.submit({"a": "one"})
    async with http_work(api.url, "here") as work:
        blobs = work.blobs(await claim_one(work))
        with pytest.raises(Permanent):
            await blobs.delete(["manifests/m"])
        with pytest.raises(Permanent):
            blobs.list("manifests/")


def test_the_memory_for_blobs_is_bounded() -> None:
    cache = BlobCache(most=100)
    for number in range(5):
        cache.put(f"manifests/{number}", bytes(40))
        cache.get("manifests/0")
    cache.put("uploads/x", b"x")

    held = [number for number in range(5) if cache.get(f"manifests/{number}")]
    assert held == [0, 4]
    assert cache.get("uploads/x") is None


async def test_while_the_api_is_away_a_claim_says_so_at_once(api: Thread, site: Workplace) -> None:
    site.submit({"a": "one"})
    async with http_work(api.url, "here") as work:
        api.stop()
        api.listener.close()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await claim(work)


async def test_what_was_worked_on_while_the_api_was_away_is_handed_in_when_it_is_back(
    api: Thread, site: Workplace
) -> None:
    job = site.submit({"a": "one"})
    async with http_work(api.url, "here") as work:
        lease = await claim_one(work)
        api.stop()
        ending = asyncio.create_task(work.finish([PretendWorker(work).result(lease)]))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(api.start)

        assert list(await ending) == [True]
        assert list(await work.finish([Finished(lease=lease)])) == [False]
        await work.release(lease, Unavailable("late"))  # what a worker does that got no answer
        await PretendWorker(work).run()
    assert site.job(job).state is JobState.COMPLETED


async def test_a_lease_is_renewed_from_another_event_loop(api: Thread, site: Workplace) -> None:
    site.submit({"a": "one"})
    async with http_work(api.url, "here") as work:
        lease = await claim_one(work)

        def renew() -> list[Lease]:
            async def run() -> list[Lease]:
                return list(await work.renew([lease]))

            return asyncio.run(run())

        assert await asyncio.to_thread(renew) == [lease]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"<html>", Unavailable), (502, b"", Unavailable), (413, b"<html>", Unavailable),
        (404, b'{"code": "http_404", "error": "no route"}', Unavailable),
        (301, b"", Unavailable), (200, b"<html>", Unavailable), (200, b"{}", Unavailable),
        (401, b"<html>", Unauthorized), (403, b'{"code": 5}', Forbidden),
        (503, b'{"code": "lease_lost", "error": "gone"}', LeaseLost),
    ],
)  # fmt: skip
async def test_whatever_answers_in_the_place_of_the_api_is_no_fault_of_a_document(
    status: int, body: bytes, error: type[VectorFlowError]
) -> None:
    class Odd(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "https://elsewhere.example/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            async with http_work(url, "here", CANARY) as work:
                with pytest.raises(error) as raised:
                    await claim(work)
        finally:
            server.shutdown()
    assert type(raised.value) is error
    assert CANARY not in str(raised.value)


async def test_a_store_behind_the_api_is_out_of_reach_without_a_lease(api: Thread) -> None:
    async with WorkClient(api.url, KEY, worker="here") as client:
        for leases in ({}, {7: 7}):
            store = ApiVectorStore(client, lambda _, held=leases: held, timeout=5.0)
            with pytest.raises(LeaseLost):
                await store.delete("docs", ["x"])


async def test_an_api_that_is_out_of_reach_is_no_outage_of_the_store_behind_it(
    api: Thread, site: Workplace
) -> None:
    site.submit({"a": "one"})
    async with (
        http_work(api.url, "here") as work,
        WorkClient("http://127.0.0.1:1", KEY, worker="here") as nowhere,
    ):
        await PretendWorker(work).run(BatchKind.EXTRACT)
        lease = await claim_one(work)
        store = ApiVectorStore(nowhere, lambda _: {lease.batch: lease.epoch}, timeout=5.0)
        with pytest.raises(Unavailable, match="cannot be reached") as raised:
            await called(SystemKind.STORE, store.marker)("docs")
        await work.release(lease, raised.value)

    assert rows(site.database, "SELECT * FROM buckets") == []
    assert rows(site.database, "SELECT state FROM batches WHERE kind = 'embed'") == [("ready",)]


async def test_a_worker_with_a_url_and_a_key_does_it_all(api: Thread, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    stop = asyncio.Event()
    async with RemoteParts(remote_settings(away, api.url)) as parts:
        working = asyncio.create_task(parts.run_worker(stop))
        headers = {"VectorFlowKey": KEY}
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
            jobs = [await uploaded(client, f"t{number}.md") for number in range(3)]
            ended = [await ended_state(api, job) for job in jobs]
        stop.set()
        await working

    assert ended == [JobState.COMPLETED] * 3
    assert list(away.iterdir()) == []


async def uploaded(client: httpx.AsyncClient, name: str) -> int:
    form = {
        "EmbeddingsMetadata": '{"embeddings_type": "SELF_HOSTED"}',
        "VectorDBMetadata": '{"vector_db_type": "LANCEDB", "index_name": "docs"}',
    }
    files = {"SourceData": (name, f"# {name}\n\nSome words of {name}.\n".encode())}
    answer = await client.post("/embed", data=form, files=files)
    return int(answer.json()["JobID"])


async def ended_state(api: Thread, job: int) -> JobState:
    database = Database(api.settings.database_url)
    try:
        async with asyncio.timeout(30):
            while True:
                view = await database.read(partial(reads.job, tenant="default", id=job))
                if view.state.ended:
                    return view.state
                await asyncio.sleep(0.05)
    finally:
        database.close()


@pytest.mark.parametrize("scope", [None, KeyScope.READ])
def test_a_worker_whose_key_does_not_let_it_in_ends_and_says_so(
    api: Thread, site: Workplace, tmp_path: Path, scope: KeyScope | None
) -> None:
    key = CANARY
    if scope:
        issue = partial(keys.issue_key, tenant="default", name="reader", scopes=[scope])
        key = site.database.write_now(issue).key

    ran = run_worker(tmp_path, API_REQUEST_URL=api.url, VECTORFLOW_API_KEY=key)

    assert ran.returncode == 1
    assert ran.stderr.startswith(f"over HTTP, {api.url}\n")
    assert ("scope 'work'" if scope else "not known here") in " ".join(ran.stderr.split())
    assert key not in ran.stderr


def test_a_worker_without_a_key_ends_before_it_begins(tmp_path: Path) -> None:
    ran = run_worker(tmp_path, API_REQUEST_URL="http://127.0.0.1:9")

    assert ran.returncode == 2
    assert "VECTORFLOW_API_KEY" in ran.stderr


def run_worker(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "vectorflow.cli", "worker"],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_revoked_key_ends_the_worker_at_its_next_claim(
    api: Thread, site: Workplace, tmp_path: Path
) -> None:
    issue = partial(keys.issue_key, tenant="default", name="w", scopes=[KeyScope.WORK])
    key = (await site.database.write(issue)).key
    given = remote_settings(tmp_path, api.url, **{"server.key": key})
    async with RemoteParts(given) as parts:
        working = asyncio.create_task(parts.run_worker(asyncio.Event()))
        await asyncio.sleep(0.3)
        assert not working.done()
        await site.database.write(partial(keys.revoke_keys, tenant="default", which="w"))

        with pytest.raises(Unauthorized):
            await asyncio.wait_for(working, 20)  # a key is remembered for some seconds


async def test_batches_of_one_index_are_written_under_any_of_its_leases(
    api: Thread, site: Workplace
) -> None:
    for name in "abc":
        site.submit({name: name})
    async with http_work(api.url, "here") as work:
        leases = await claim(work, BatchKind.EXTRACT)
        pipeline = leases[0].pipeline
        named = work.leases_of(pipeline.store, None, pipeline.index)
        assert named == {lease.batch: lease.epoch for lease in leases}

        await work.release(leases[0], None)
        await work.finish([PretendWorker(work).result(leases[1])])

        assert list(work.leases_of(pipeline.store, None, pipeline.index)) == [leases[2].batch]
        assert work.leases_of(pipeline.store, None, "another") == {}


async def test_two_accounts_of_a_store_that_the_api_writes_share_no_call(
    api: Thread, site: Workplace
) -> None:
    pipeline = replace(PIPELINE, store="qdrant://far.example:6333")
    for key in ("one", "two"):
        job = site.submit({key: key}, pipeline=pipeline)
        sealed = seal_credentials(make_secrets(api.settings), TENANT, Credentials(store_key=key))
        row = {"job_id": job, "tenant": TENANT, "sealed": sealed}
        await site.database.write(lambda ledger, row=row: ledger.execute(insert(credentials), row))
    async with http_work(api.url, "here") as work:
        await PretendWorker(work).run(BatchKind.EXTRACT)

        leases = await claim(work, BatchKind.EMBED)

        accounts = [lease.job.credentials.store_key for lease in leases]
        assert set(accounts) == {account_of("one"), account_of("two")}
        for lease, account in zip(leases, accounts, strict=True):
            held = work.leases_of(pipeline.store, account, pipeline.index)
            assert held == {lease.batch: lease.epoch}
