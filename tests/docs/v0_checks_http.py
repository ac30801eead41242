"""Checks of routes, headers, statuses and answers."""

import httpx

from tests.docs.v0_server import LOCAL, OPEN_AI, TEXT, Lab, check, hook
from tests.unit.api.door import STORE, form, sentence
from vectorflow.api.routes.jobs import status_of
from vectorflow.domain.jobs import JobState
from vectorflow.ledger.reads import JobView
from vectorflow.testing.pinecone_server import KEY as PINECONE_KEY
from vectorflow.testing.pinecone_server import PineconeServer
from vectorflow.testing.provider import FakeProvider
from vectorflow.testing.qdrant_server import QdrantServer


@check("embed")
async def embed(lab: Lab) -> None:
    async with lab.server() as server:
        for name in ("rules.txt", "rules.md", "rules", "rules.whatever"):
            answer = await server.send(name=name)
            message = {"message": "Successfully added 1 batches to the queue"}
            assert answer.json() == message | {"JobID": answer.json()["JobID"]}
            assert await server.end_of(answer) == "COMPLETED"


@check("jobs")
async def jobs(lab: Lab) -> None:
    texts = [("a.txt", TEXT), ("a.txt", b"Another."), ("b.txt", b" \n"), ("a.txt", TEXT)]
    async with lab.server() as server:
        files = [("file", one) for one in texts]
        answer = await server.client.post("/jobs", data=form(), files=files)
        lone = await server.client.post("/jobs", files={"x": (None, "y")})

    found = answer.json()["successful_uploads"]
    assert set(found) == {"a.txt", "a.txt (2)"}
    assert answer.json() == {
        "message": "Files processed",
        "successful_uploads": found,
        "failed_uploads": [],
        "empty_files_count": 1,
        "duplicate_files_count": 1,
    }
    assert sentence(lone, 400)


@check("s3")
async def s3(lab: Lab) -> None:
    async with lab.server() as server, hook() as file:
        address = f"http://127.0.0.1:{file.port}/bucket/rules.txt?signature=x"
        for path in ("/s3", "/embed"):
            answer = await server.client.post(path, data=form(PreSignedURL=address), files=_NO_FILE)
            assert await server.end_of(answer) == "COMPLETED"
        [hit, *_] = await server.hits()
        far = form(PreSignedURL="https://169.254.169.254/x")
        refused = await server.client.post("/s3", data=far, files=_NO_FILE)

    assert hit.document.uri == "rules.txt"
    assert "VECTORFLOW_HOOKS__ALLOW" in sentence(refused, 400)


@check("status")
async def status(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.send()
        await server.end_of(answer)
        found = await server.client.get(f"/jobs/{answer.json()['JobID']}/status")

    assert found.json() == {"JobStatus": "COMPLETED"}


@check("statuses")
async def statuses(lab: Lab) -> None:
    async with lab.server() as server:
        for text in (b"One.", b"Two."):
            await server.end_of(await server.send(text=text))
        found = await server.client.post("/jobs/status", json={"JobIDs": [2, 77, 1, 2]})

    done = "COMPLETED"
    assert found.json() == {
        "Jobs": [{"JobID": 2, "JobStatus": done}, {"JobID": 1, "JobStatus": done}]
    }


@check("gone")
async def gone(lab: Lab) -> None:
    routes = [
        ("GET", "/jobs/1"),
        ("PUT", "/jobs/1"),
        ("GET", "/dequeue"),
        ("POST", "/images"),
        ("POST", "/images/search"),
    ]
    async with lab.server() as server:
        for method, path in routes:
            assert "route" in sentence(await server.client.request(method, path), 404)
        assert "route" in sentence(await server.client.get("/embed"), 405)


@check("slashes")
async def slashes(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.client.post(
            "http://api//embed/", data=form(), files={"SourceData": ("a.txt", TEXT)}
        )

    assert answer.status_code == 200


@check("cors")
async def cors(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.client.get("/jobs/1/status", headers={"Origin": "https://other"})

    assert not [name for name in answer.headers if name.startswith("access-control")]


@check("parts")
async def parts(lab: Lab) -> None:
    head = 'Content-Disposition: form-data; name="'
    file = f'--x\r\n{head}SourceData"; filename="a.txt"\r\n\r\nSome text.\r\n'
    fields = [f'--x\r\n{head}{name}"\r\n\r\n{value}\r\n' for name, value in form().items()]
    async with lab.server() as server:
        for body in (file + "".join(fields), "".join(reversed(fields)) + file):
            answer = await server.client.post(
                "/embed",
                content=f"{body}--x--\r\n".encode(),
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
            assert await server.end_of(answer) == "COMPLETED"


@check("key-headers")
async def key_headers(lab: Lab) -> None:
    ways = [
        {"VectorFlowKey": "the-key"},
        {"Authorization": "the-key"},
        {"Authorization": "Bearer the-key"},
        {"VectorFlowKey": "the-key", "Authorization": "other"},
    ]
    async with lab.server() as server:
        del server.client.headers["VectorFlowKey"]
        for headers in ways:
            answer = await server.client.get("/jobs/1/status", headers=headers)
            assert "job" in sentence(answer, 404)
        assert sentence(await server.client.get("/jobs/1/status"), 401)


@check("embedding-key")
async def embedding_key(lab: Lab) -> None:
    async with FakeProvider(keys=["theirs", "ours"]) as provider:
        given = {"openai.base_url": provider.url, "openai.key": "ours"}
        async with lab.server(given) as server:
            wanted = {"EmbeddingsMetadata": OPEN_AI}
            with_key = {"X-EmbeddingAPI-Key": "theirs"}
            first = await server.send(headers=with_key, **wanted)
            assert await server.end_of(first) == "COMPLETED"
            assert len(provider.stats.keys) == 1
            second = await server.send(text=b"Another text.", **wanted)
            assert await server.end_of(second) == "COMPLETED"
            assert len(provider.stats.keys) == 2


@check("store-key")
async def store_key(lab: Lab) -> None:
    async with QdrantServer(key="theirs") as qdrant:
        await make_collection(qdrant, "theirs")
        store = {"vector_db_type": "QDRANT", "index_name": "docs", "environment": qdrant.http_url}
        async with lab.server() as server:
            own = await server.send()
            headers = {"X-VectorDB-Key": "theirs"}
            there = await server.send(headers=headers, VectorDBMetadata=store)
            without = await server.send(VectorDBMetadata=store)
            assert await server.end_of(own) == "COMPLETED"
            assert await server.end_of(there) == "COMPLETED"

    assert 400 <= without.status_code < 500


@check("webhook-key")
async def webhook_key(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.send(WebhookURL="https://example.org/hook")
        missing = await server.send(VectorDBMetadata=None)

    assert "X-Webhook-Key" in sentence(answer, 400)
    assert "VectorDBMetadata is missing" in sentence(missing, 400)


@check("unauthorized")
async def unauthorized(lab: Lab) -> None:
    async with lab.server() as server:
        server.client.headers["VectorFlowKey"] = "test123"
        for content in (b"", b"nonsense"):
            assert sentence(await server.client.post("/embed", content=content), 401)


@check("empty")
async def empty(lab: Lab) -> None:
    async with lab.server() as server:
        assert "no text" in sentence(await server.send(text=b""), 400)


@check("unknown-job")
async def unknown_job(lab: Lab) -> None:
    async with lab.server() as server:
        one = await server.client.get("/jobs/77/status")
        several = await server.client.post("/jobs/status", json={"JobIDs": [77]})

    assert sentence(one, 404) == sentence(several, 404)


@check("too-large")
async def too_large(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.send(text=b"a" * ((1 << 20) + 1))

    assert "VECTORFLOW_API__MAX_UPLOAD_BYTES" in sentence(answer, 413)


@check("not-json")
async def not_json(lab: Lab) -> None:
    async with lab.server() as server:
        kind = await server.client.post("/jobs/status", content=b"JobIDs=1")
        ids = await server.client.post("/jobs/status", json={})

    assert "JSON" in sentence(kind, 415)
    assert "JobIDs" in sentence(ids, 400)


@check("bad-values")
async def bad_values(lab: Lab) -> None:
    async with lab.server() as server:
        for fields in (
            {"EmbeddingsMetadata": "nonsense"},
            {"EmbeddingsMetadata": LOCAL | {"embeddings_type": "nonsense"}},
            {"VectorDBMetadata": STORE | {"vector_db_type": "nonsense"}},
            {"EmbeddingsMetadata": LOCAL | {"chunk_overlap": 64}},
            {"LinesPerBatch": "abc"},
        ):
            assert sentence(await server.send(**fields), 400)


@check("file-types")
async def file_types(lab: Lab) -> None:
    async with lab.server() as server:
        answer = await server.send(text=b"%PDF-1.7\n\x00\x01\xff\xfe\x00", name="scan.pdf")
        assert await server.end_of(answer) == "FAILED"


@check("job-statuses")
async def job_statuses(lab: Lab) -> None:
    del lab
    states = {
        (JobState.RUNNING, False): "NOT_STARTED",
        (JobState.RUNNING, True): "IN_PROGRESS",
        (JobState.PAUSED, True): "IN_PROGRESS",
        (JobState.COMPLETED, True): "COMPLETED",
        (JobState.PARTIAL, True): "PARTIALLY_COMPLETED",
        (JobState.FAILED, True): "FAILED",
        (JobState.CANCELLED, True): "CANCELLED",
    }
    none = dict.fromkeys(JobView.__dataclass_fields__, 0)
    for (state, started), name in states.items():
        view = JobView(**(none | {"state": state, "started": started}))
        assert status_of(view) == name


@check("record-pinecone")
async def record_pinecone(lab: Lab) -> None:
    async with PineconeServer() as pinecone:
        await pinecone.add_index("docs", dimension=8)
        store = {"vector_db_type": "PINECONE", "index_name": "docs", "environment": "us-east-1-aws"}
        async with lab.server({"pinecone.control_url": pinecone.url}) as server:
            answer = await server.send(
                headers={"X-VectorDB-Key": PINECONE_KEY}, VectorDBMetadata=store, DocumentID="rules"
            )
            assert await server.end_of(answer) == "COMPLETED"
        held = pinecone.index("docs").namespaces.values()

    records = [record.metadata for space in held for record in space.records.values()]
    [metadata] = [metadata for metadata in records if "source_text" in metadata]
    assert "refund" in str(metadata["source_text"])
    assert metadata["source_document"] == "rules"


@check("record-qdrant")
async def record_qdrant(lab: Lab) -> None:
    async with QdrantServer() as qdrant, httpx.AsyncClient(base_url=qdrant.http_url) as client:
        await make_collection(qdrant)
        store = {"vector_db_type": "qdrant", "index_name": "docs", "environment": qdrant.http_url}
        async with lab.server() as server:
            answer = await server.send(VectorDBMetadata=store, DocumentID="rules")
            assert await server.end_of(answer) == "COMPLETED"
        found = await client.post(
            "/collections/docs/points/scroll", json={"limit": 9, "with_payload": True}
        )

    payloads = [point["payload"] for point in found.json()["result"]["points"]]
    [payload] = [one for one in payloads if "source_text" in one]
    assert "refund" in payload["source_text"]
    assert payload["source_document"] == "rules"


@check("record-own")
async def record_own(lab: Lab) -> None:
    async with lab.server() as server:
        await server.end_of(await server.send(DocumentID="rules", Metadata={"team": "hr"}))
        [hit] = await server.hits()

    assert "refund" in hit.text
    assert (hit.document.external_id, hit.metadata["team"]) == ("rules", "hr")


_NO_FILE = {"unused": (None, "")}
"""Makes a form multipart."""


async def make_collection(qdrant: QdrantServer, key: str = "") -> None:
    headers = {"api-key": key} if key else {}
    async with httpx.AsyncClient(base_url=qdrant.http_url, headers=headers) as client:
        wanted = {"vectors": {"size": 8, "distance": "Cosine"}}
        (await client.put("/collections/docs", json=wanted)).raise_for_status()
