"""Workers at the door of the API: who is let in, under which leases, and what is refused."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pyarrow as pa
import pytest

from tests.unit.api.door import KEY, a_file, form, sentence
from vectorflow.adapters._work_client import Ask
from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend
from vectorflow.api.desk import DeskLimits
from vectorflow.domain.access import KeyScope
from vectorflow.domain.jobs import JobState
from vectorflow.domain.records import record_schema
from vectorflow.ledger import keys, reads
from vectorflow.ports.work_wire import LEASES_HEADER, WORKER_HEADER
from vectorflow.testing import ledgers
from vectorflow.wiring import Parts, capabilities

ROUTES = [
    ("POST", "claim"),
    ("POST", "renew"),
    ("POST", "checkpoint"),
    ("POST", "finish"),
    ("POST", "release"),
    ("GET", "blobs/manifests/x"),
    ("PUT", "blobs/manifests/x"),
    *(("POST", f"store/{verb}") for verb in ("marker", "create", "upsert", "delete", "fetch")),
]
WORKER = {"vectorflowkey": KEY, WORKER_HEADER: "here"}
CANARY = "canary-of-the-provider"
NONE = "00000000-0000-5000-8000-000000000000"


def client_from(backend: Backend, host: str, url: str = "http://api", **more: str):  # noqa: ANN201
    """A client at an address; the scheme of the URL is the one that the server sees."""
    transport = httpx.ASGITransport(make_app(backend), client=(host, 4242))
    headers = WORKER | more
    return httpx.AsyncClient(transport=transport, base_url=f"{url}/v1/work/", headers=headers)


@pytest.fixture
async def worker(backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    async with client_from(backend, "127.0.0.1") as client:
        yield client


@pytest.fixture
async def job(client: httpx.AsyncClient) -> int:
    """A document waits."""
    answer = await client.post("/embed", data=form(), files=a_file())
    return int(answer.json()["JobID"])


def claim_body(limit: int = 9) -> dict[str, object]:
    kinds = ["retire", "embed", "extract"]
    return {"kinds": kinds, "capabilities": dict(capabilities()), "limit": limit}


async def claim(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.post("claim", json=claim_body())
    assert answer.status_code == 200, answer.text
    return list(answer.json()["leases"])


def named(lease: dict[str, Any]) -> dict[str, str]:
    return {LEASES_HEADER: f"{lease['batch']}:{lease['epoch']}"}


@pytest.mark.parametrize(("method", "route"), ROUTES)
@pytest.mark.parametrize("scope", [KeyScope.EMBED, KeyScope.READ])
async def test_a_key_for_other_things_opens_no_route_of_workers(
    backend: Backend, parts: Parts, method: str, route: str, scope: KeyScope
) -> None:
    issue = partial(keys.issue_key, tenant=parts.tenant, name="other", scopes=[scope])
    key = (await parts.database.write(issue)).key
    async with client_from(backend, "127.0.0.1", vectorflowkey=key) as client:
        answer = await client.request(method, route, content=b"nonsense")

    assert "'work'" in sentence(answer, 403)


async def test_a_key_of_another_tenant_may_not_work(backend: Backend, parts: Parts) -> None:
    issue = partial(keys.issue_key, tenant="other", name="theirs", scopes=[KeyScope.WORK])
    key = (await parts.database.write(issue)).key
    async with client_from(backend, "127.0.0.1", vectorflowkey=key) as client:
        answer = await client.post("claim", json=claim_body())

    assert "all tenants" in sentence(answer, 403)


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 81, "-x"])
async def test_a_worker_gives_its_name(backend: Backend, name: str) -> None:
    headers = {WORKER_HEADER: name.encode()} if name else {}
    async with client_from(backend, "127.0.0.1") as client:
        del client.headers[WORKER_HEADER]
        answer = await client.post("claim", json=claim_body(), headers=headers)

    assert WORKER_HEADER in sentence(answer, 400)


@pytest.mark.parametrize("route", ["claim", "renew", "checkpoint", "finish", "release"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"lease": {}}', b"\xff\xfe", b"[" * 9999]
)
async def test_a_body_that_is_no_message_is_refused_without_being_quoted(
    worker: httpx.AsyncClient, route: str, body: bytes
) -> None:
    said = sentence(await worker.post(route, content=body), 400)

    assert said.startswith("the body")


async def test_a_claim_of_nonsense_is_refused(worker: httpx.AsyncClient) -> None:
    for wrong in ({"kinds": ["cook"]}, {"limit": "many"}, {"capabilities": [1]}):
        sentence(await worker.post("claim", json=claim_body() | wrong), 400)


async def test_a_body_that_is_too_large_is_refused(backend: Backend) -> None:
    limits = DeskLimits(json_bytes=64, blob_bytes=64, records_bytes=64)
    small = replace(backend, desk=replace(backend.desk, limits=limits))
    async with client_from(small, "127.0.0.1") as client:
        sentence(await client.post("claim", content=b" " * 65), 413)
        sentence(await client.post("store/upsert", content=b" " * 65), 413)


@pytest.mark.usefixtures("job")
async def test_a_blob_that_is_too_large_leaves_nothing(backend: Backend) -> None:
    limits = DeskLimits(blob_bytes=64)
    small = replace(backend, desk=replace(backend.desk, limits=limits))
    async with client_from(small, "127.0.0.1") as client:
        [lease] = await claim(client)
        refused = await client.put("blobs/manifests/x", content=b"x" * 65, headers=named(lease))

    sentence(refused, 413)
    assert [blob async for blob in backend.blobs.list("manifests/")] == []


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        "blobs/manifests/..", "blobs/manifests/%2e%2e%2fkey", "blobs/manifests/..%2f..%2fledger.db",
        "blobs/../ledger.db", "blobs/manifests/.hidden", "blobs/secrets/x", "blobs/manifests/a%00b",
        "blobs/manifests/x~draft", f"blobs/manifests/{'x' * 201}", "blobs/manifests/a%5cb",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("job")
async def test_no_name_of_a_blob_leads_elsewhere(
    worker: httpx.AsyncClient, method: str, path: str
) -> None:
    [lease] = await claim(worker)

    answer = await worker.request(method, path, content=b"x", headers=named(lease))

    assert answer.status_code == 404


@pytest.mark.usefixtures("job")
async def test_a_blob_is_read_in_stretches_and_written_whole(worker: httpx.AsyncClient) -> None:
    [lease] = await claim(worker)
    await worker.put("blobs/vectors/v1", content=b"0123456789", headers=named(lease))

    whole = await worker.get("blobs/vectors/v1", headers=named(lease))
    stretch = await worker.get("blobs/vectors/v1?start=3&length=4", headers=named(lease))
    beyond = await worker.get("blobs/vectors/v1?start=99", headers=named(lease))
    wrong = await worker.get("blobs/vectors/v1?start=-1", headers=named(lease))

    assert (whole.content, stretch.content, beyond.content) == (b"0123456789", b"3456", b"")
    assert (await worker.get("blobs/vectors/v2", headers=named(lease))).status_code == 404
    assert wrong.status_code in {400, 404}


@pytest.mark.usefixtures("job")
async def test_uploads_are_read_and_never_written(worker: httpx.AsyncClient) -> None:
    [lease] = await claim(worker)
    source = lease["versions"][0]["source"]

    read = await worker.get(f"blobs/{source['blob']}", headers=named(lease))
    written = await worker.put(f"blobs/{source['blob']}", content=b"x", headers=named(lease))

    assert read.content == b"Some text."
    sentence(written, 403)


@pytest.mark.usefixtures("job")
async def test_without_a_current_lease_there_are_no_blobs_and_no_records(
    worker: httpx.AsyncClient,
) -> None:
    [lease] = await claim(worker)
    await worker.post("release", json={"lease": lease})
    asked = [
        await worker.request(method, route, headers=named(lease), content=b'"x"')
        for method, route in ROUTES[5:]
        if route not in {"store/create", "store/upsert", "store/delete", "store/fetch"}
    ]
    asked += [
        await worker.post("store/fetch", headers=named(lease), json=["a"]),
        await worker.post("store/delete", headers=named(lease), json=["a"]),
        await worker.post("store/upsert", headers=named(lease), content=b""),
    ]

    assert {answer.status_code for answer in asked} == {503}
    assert {answer.json()["code"] for answer in asked} == {"lease_lost"}


@pytest.mark.parametrize("header", ["", "1", "1:1;2:2", "x:y", ",".join(["1:1"] * 65)])
async def test_a_request_says_under_which_leases_it_comes(
    worker: httpx.AsyncClient, header: str
) -> None:
    answer = await worker.post("store/marker", headers={LEASES_HEADER: header})

    assert LEASES_HEADER in sentence(answer, 400)


@pytest.mark.parametrize(
    "other", [{WORKER_HEADER: "there"}, {"vectorflowkey": "older-key"}], ids=["name", "key"]
)
async def test_a_lease_of_another_worker_is_of_no_use(
    backend: Backend, parts: Parts, worker: httpx.AsyncClient, job: int, other: dict[str, str]
) -> None:
    [lease] = await claim(worker)
    async with client_from(backend, "127.0.0.1", **other) as thief:
        kept = await thief.post("renew", json={"leases": [lease]})
        ended = await thief.post("finish", json={"results": [{"lease": lease}]})
        await thief.post("release", json={"lease": lease})
        progress = await thief.post("checkpoint", json={"lease": lease, "vectors": "vectors/x"})
        blob = await thief.get("blobs/uploads/x", headers=named(lease))

    assert kept.json() == {"batches": []}
    assert ended.json() == {"accepted": [False]}
    assert {progress.json()["code"], blob.json()["code"]} == {"lease_lost"}
    still = await worker.post("renew", json={"leases": [lease]})
    assert still.json() == {"batches": [lease["batch"]]}
    view = await parts.database.read(partial(reads.job, tenant=parts.tenant, id=job))
    assert view.state is JobState.RUNNING


@pytest.mark.usefixtures("job")
async def test_a_number_that_no_ledger_has_is_no_lease(worker: httpx.AsyncClient) -> None:
    [lease] = await claim(worker)
    far = lease | {"batch": 1 << 70, "epoch": 1 << 40}

    kept = await worker.post("renew", json={"leases": [far]})

    assert kept.json() == {"batches": []}


@pytest.mark.usefixtures("job")
async def test_what_is_made_twice_since_no_answer_came_is_made_once(
    worker: httpx.AsyncClient,
) -> None:
    [lease] = await claim(worker)
    version = lease["versions"][0]["id"]
    part = {"number": 0, "blob": "manifests/p", "row_start": 0, "rows": 1, "resume_at": 10}
    first = {"version": version, "part": part, "new_rows": 1, "last": False}
    last = first | {"part": part | {"number": 1, "blob": "manifests/q"}, "last": True}
    for _ in range(2):
        answer = await worker.post("checkpoint", json={"lease": lease, "parts": [first]})
        assert answer.status_code == 204
    result = {"lease": lease, "parts": [last]}

    answers = [await worker.post("finish", json={"results": [result]}) for _ in range(2)]
    late = await worker.post("release", json={"lease": lease})

    assert [answer.json()["accepted"] for answer in answers] == [[True], [False]]
    assert late.status_code == 204
    assert len(await claim(worker)) == 2  # one for each part, and none twice


async def embed_lease(worker: httpx.AsyncClient) -> dict[str, Any]:
    [lease] = await claim(worker)
    version = lease["versions"][0]["id"]
    part = {"number": 0, "blob": "manifests/p", "row_start": 0, "rows": 1, "resume_at": 10}
    new = {"version": version, "part": part, "new_rows": 1, "last": True}
    await worker.post("finish", json={"results": [{"lease": lease, "parts": [new]}]})
    [lease] = await claim(worker)
    return lease


def stream_of(records: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, records.schema) as writer:
        writer.write_table(records)
    return bytes(sink.getvalue())


def marker_of(lease: dict[str, Any], parts: Parts) -> dict[str, object]:
    index = lease["index"]
    assert isinstance(index, dict)
    names = {"ledger": index["ledger"], "incarnation": index["incarnation"]}
    digest = parts.pipeline().recipe.fingerprint.digest
    return names | {"fingerprint": digest, "dimensions": 8}


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("key", ["uploads/x", "manifests/../x", "vectors/", "x", "/vectors/x"])
async def test_a_worker_refers_to_blobs_of_the_right_kind(
    worker: httpx.AsyncClient, key: str
) -> None:
    [lease] = await claim(worker)
    version = lease["versions"][0]["id"]
    part = {"number": 0, "blob": key, "row_start": 0, "rows": 1, "resume_at": 10}
    parts = [{"version": version, "part": part, "new_rows": 1, "last": True}]

    answers = [
        await worker.post("checkpoint", json={"lease": lease, "parts": parts}),
        await worker.post("checkpoint", json={"lease": lease, "vectors": key}),
        await worker.post("finish", json={"results": [{"lease": lease, "parts": parts}]}),
    ]

    assert [sentence(answer, 400).partition(" of ")[0] for answer in answers] == [
        "the body names a blob that is none"
    ] * 3
    kept = await worker.post("renew", json={"leases": [lease]})
    assert kept.json() == {"batches": [lease["batch"]]}


ATTACHED = {
    "name": "a.txt",
    "raw_hash": "0" * 32,
    "extractor": "text",
    "source": {"blob": "attached/x", "start": 0, "length": 3},
}


async def commit_with(worker: httpx.AsyncClient, *attached: dict[str, Any]) -> httpx.Response:
    """End the extraction of the document that waits, with what was found in it."""
    [lease] = await claim(worker)
    part = {"number": 0, "blob": "manifests/p", "row_start": 0, "rows": 1, "resume_at": 10}
    version = lease["versions"][0]["id"]
    new = {"version": version, "part": part, "new_rows": 1, "last": True, "attached": attached}
    return await worker.post("checkpoint", json={"lease": lease, "parts": [new]})


@pytest.mark.usefixtures("job")
async def test_what_a_worker_found_in_a_document_is_a_document(worker: httpx.AsyncClient) -> None:
    odd = ATTACHED | {"name": "../\0"}
    answer = await commit_with(worker, ATTACHED, odd)
    assert answer.status_code == 204

    [lease] = [one for one in await claim(worker) if one["kind"] == "extract"]

    names = [version["external_id"].partition("//")[2] for version in lease["versions"]]
    assert names == ["a.txt", "attachment"]
    assert [version["source"] for version in lease["versions"]] == [ATTACHED["source"]] * 2


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    "wrong",
    [
        {"source": {"blob": "uploads/x", "start": 0, "length": 3}},
        {"source": {"blob": "attached/../x", "start": 0, "length": 3}},
        {"source": {"blob": "attached/x", "start": -1, "length": 3}},
        {"source": {"blob": "attached/x", "start": 0, "length": 1 << 40}},
        {"raw_hash": "x"},
        {"extractor": "x" * 65},
    ],
)
async def test_what_no_worker_finds_in_a_document_is_refused(
    worker: httpx.AsyncClient, parts: Parts, wrong: dict[str, Any]
) -> None:
    answer = await commit_with(worker, ATTACHED, ATTACHED | wrong)

    assert "the body" in sentence(answer, 400)
    assert ledgers.rows(parts.database, "SELECT count(*) FROM parts") == [(0,)]


@pytest.mark.usefixtures("job")
async def test_a_document_has_only_so_many_attachments(worker: httpx.AsyncClient) -> None:
    answer = await commit_with(worker, *[ATTACHED] * 1001)

    assert "too many attachments" in sentence(answer, 400)


@pytest.mark.usefixtures("job")
async def test_a_kind_that_is_asked_for_twice_is_claimed_once(worker: httpx.AsyncClient) -> None:
    body = claim_body() | {"kinds": ["extract", "extract"]}

    answer = await worker.post("claim", json=body)

    assert len(answer.json()["leases"]) == 1


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("limit", [0, -1, -(1 << 70)])
async def test_who_has_room_for_nothing_is_given_nothing(
    worker: httpx.AsyncClient, limit: int
) -> None:
    answer = await worker.post("claim", json=claim_body(limit))

    assert answer.json()["leases"] == []


RECORD = {
    "id": "8c1c7ee1-6c8c-5f2a-9b1f-0d8f6f0a7a11", "vector": [0.5] * 8, "text": "a", "document": "d",
    "version": 1, "metadata": "{}",
}  # fmt: skip


@pytest.mark.usefixtures("job")
async def test_the_store_of_a_lease_is_written_by_the_api(
    worker: httpx.AsyncClient, parts: Parts
) -> None:
    lease = await embed_lease(worker)
    under, marker = named(lease), marker_of(lease, parts)
    body = stream_of(pa.Table.from_pylist([RECORD], schema=record_schema(8)))

    assert (await worker.post("store/marker", headers=under)).json() is None
    assert (await worker.post("store/create", headers=under, json=marker)).json() == marker
    assert (await worker.post("store/marker", headers=under)).json() == marker
    assert (await worker.post("store/upsert", headers=under, content=body)).status_code == 204
    fetched = await worker.post("store/fetch", headers=under, json=[RECORD["id"], NONE])
    assert pa.ipc.open_stream(fetched.content).read_all().to_pylist() == [RECORD]
    deleted = await worker.post("store/delete", headers=under, json=[RECORD["id"]])
    assert deleted.status_code == 204
    fetched = await worker.post("store/fetch", headers=under, json=[RECORD["id"]])
    assert len(pa.ipc.open_stream(fetched.content).read_all()) == 0


@pytest.mark.parametrize("name", ["ledger", "fingerprint", "incarnation"])
@pytest.mark.usefixtures("job")
async def test_an_index_is_marked_as_the_ledger_knows_it_and_not_otherwise(
    worker: httpx.AsyncClient, parts: Parts, name: str
) -> None:
    lease = await embed_lease(worker)
    wrong = marker_of(lease, parts) | {name: "another"}

    answer = await worker.post("store/create", headers=named(lease), json=wrong)

    assert answer.json()["code"] == "lease_lost"
    assert (await worker.post("store/marker", headers=named(lease))).json() is None


@pytest.mark.parametrize(
    "body",
    [
        b"", b"nonsense", b"\xff" * 64,
        stream_of(pa.table({"id": ["a"]})),
        stream_of(pa.Table.from_pylist([], schema=record_schema(9))),
        stream_of(pa.Table.from_pylist([RECORD], schema=record_schema(8)))[:-90],
    ],
)  # fmt: skip
@pytest.mark.usefixtures("job")
async def test_records_that_are_none_are_refused(
    worker: httpx.AsyncClient, parts: Parts, body: bytes
) -> None:
    lease = await embed_lease(worker)
    await worker.post("store/create", headers=named(lease), json=marker_of(lease, parts))

    said = sentence(await worker.post("store/upsert", headers=named(lease), content=body), 400)

    assert said.startswith("the body holds no records")


@pytest.mark.usefixtures("job")
async def test_records_that_come_as_the_index_is_started_anew_are_taken_back(
    worker: httpx.AsyncClient, parts: Parts
) -> None:
    lease = await embed_lease(worker)
    await worker.post("store/create", headers=named(lease), json=marker_of(lease, parts))
    store = await parts.store(parts.store_locator())
    marker = await store.marker("docs")
    assert marker is not None
    newer = replace(marker, incarnation="another")
    upsert = store.upsert

    async def late(index: str, records: pa.Table) -> None:
        await store.create(index, newer)
        await upsert(index, records)

    body = stream_of(pa.Table.from_pylist([RECORD], schema=record_schema(8)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "upsert", late)
        answer = await worker.post("store/upsert", headers=named(lease), content=body)

    assert answer.json()["code"] == "lease_lost"
    assert len(await store.fetch("docs", [str(RECORD["id"])])) == 0


async def with_credentials(client: httpx.AsyncClient) -> None:
    """A document waits whose validation hook has a secret address."""
    hook = {"ChunkValidationURL": f"https://hooks.example/{CANARY}"}
    answer = await client.post("/embed", data=form() | hook, files=a_file())
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("host", "url", "more"),
    [
        ("203.0.113.9", "https://api", {}),
        ("127.0.0.1", "http://api", {}),
        ("::1", "http://api", {}),
    ],
)
async def test_credentials_travel_where_nobody_can_read_them(
    backend: Backend, client: httpx.AsyncClient, host: str, url: str, more: dict[str, str]
) -> None:
    await with_credentials(client)
    async with client_from(backend, host, url, **more) as worker:
        [lease] = await claim(worker)

    assert CANARY in str(lease)


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("203.0.113.9", {}),
        ("10.0.0.9", {"x-forwarded-proto": "https"}),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.9"}),
        ("127.0.0.1", {"forwarded": "for=203.0.113.9"}),
        ("127.0.0.1", {"x-forwarded-proto": "http"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
        ("testclient", {}),
    ],
)
async def test_where_others_could_read_them_credentials_stay_and_the_work_goes_back(
    backend: Backend,
    client: httpx.AsyncClient,
    worker: httpx.AsyncClient,
    host: str,
    more: dict[str, str],
) -> None:
    await with_credentials(client)
    async with client_from(backend, host, **more) as far:
        answer = await far.post("claim", json=claim_body())

    assert "https" in sentence(answer, 403)
    assert CANARY not in answer.text
    [lease] = await claim(worker)
    assert (lease["epoch"], lease["attempt"]) == (2, 1)


@pytest.mark.usefixtures("job")
async def test_work_without_credentials_is_given_out_over_plain_http(backend: Backend) -> None:
    async with client_from(backend, "203.0.113.9") as far:
        assert len(await claim(far)) == 1


async def test_credentials_are_in_no_log(
    backend: Backend, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "vectorflow")
    await with_credentials(client)
    async with client_from(backend, "203.0.113.9") as far:
        await far.post("claim", json=claim_body())
    async with client_from(backend, "127.0.0.1") as near:
        await near.post("finish", json={"results": await claim(near)})

    assert "worker_without_tls" in caplog.text
    assert CANARY not in caplog.text + str([vars(record) for record in caplog.records])
    assert CANARY not in repr(Ask(method="POST", path="x", body=CANARY.encode(), seconds=1.0))
