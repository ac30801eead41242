"""The contract of the v0 API, as existing clients rely on it, between real processes."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import lancedb
import psycopg
import pytest
from pinecone import Index, Pinecone

from tests.acceptance.api_server import running_server, running_worker, wait_for_end
from tests.acceptance.outside import Received, forwarding
from tests.acceptance.v0_calls import (
    DIMENSIONS,
    KEY,
    LOCAL,
    OPEN_AI,
    OWN_STORE,
    TEXT,
    Site,
    batches_of,
    is_vector_of,
    job_of,
    lines,
    own_address,
    running_site,
)
from vectorflow.testing.pinecone_server import KEY as PINECONE_KEY

MIB = 1 << 20
SMALL = OPEN_AI | {"chunk_size": 32, "chunk_overlap": 8}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    variables = {"VECTORFLOW_API__MAX_UPLOAD_BYTES": str(MIB)}
    if sys.platform == "linux":
        variables["LOCAL_VECTOR_DB"] = own_address()
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("v0")
        running = stack.enter_context(running_site(folder / "data", **variables))
        if sys.platform == "linux":
            stack.enter_context(forwarding(running.local, 6333, running.outside.qdrant))
        yield running


def found(site: Site, index: str) -> list[dict[str, object]]:
    """Read all records of an index of the server's own store with LanceDB's own client."""
    table = lancedb.connect(site.server.data_dir / "vectors").open_table(index)
    rows: list[dict[str, object]] = table.to_arrow().to_pylist()
    return rows


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second address of this machine")
def test_what_existing_clients_send_by_default_is_stored_in_qdrant(site: Site) -> None:
    """LOCAL_VECTOR_DB is a host: the port is Qdrant's own then, and it is called without TLS."""
    assert ":" not in site.local
    text = lines(60)
    site.make_collection("test-1536")

    answer = site.embed(
        text,
        path="//embed",
        headers={"X-EmbeddingAPI-Key": "sk-of-this-test"},
        EmbeddingsMetadata=OPEN_AI,
        VectorDBMetadata=site.qdrant("test-1536"),
    )
    status = site.end(answer)

    points = site.points("test-1536")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "message": "Successfully added 1 batches to the queue",
        "JobID": answer.json()["JobID"],
    }
    assert type(answer.json()["JobID"]) is int
    assert status == "COMPLETED"
    starts = sorted((text.index(point.text), len(point.text)) for point in points)
    assert (len(starts), starts[0][0]) == (5, 0)
    assert sum(starts[-1]) == len(text.rstrip())
    assert all(following[0] < sum(start) for start, following in pairwise(starts))
    assert all(point.payload["source_document"] for point in points)
    assert all(is_vector_of(point.vector, point.text) for point in points)


def test_many_files_are_answered_with_an_object_and_asked_about_together(site: Site) -> None:
    files = [("one.txt", "The first file.\n"), ("two.txt", "The second.\n"), ("void.txt", "")]

    answer = site.upload([*files, files[0]], VectorDBMetadata=OWN_STORE | {"index_name": "many"})

    jobs = answer.json()["successful_uploads"]
    assert answer.status_code == 200
    assert answer.json() == {
        "message": "Files processed",
        "successful_uploads": jobs,
        "failed_uploads": [],
        "empty_files_count": 1,
        "duplicate_files_count": 1,
    }
    assert list(jobs) == ["one.txt", "two.txt"]
    assert {site.end(job) for job in jobs.values()} == {"COMPLETED"}
    asked = [*jobs.values(), 999_999]
    statuses = site.client.post("/jobs/status", json={"JobIDs": asked})
    assert statuses.json() == {
        "Jobs": [{"JobID": job, "JobStatus": "COMPLETED"} for job in jobs.values()]
    }
    one = site.client.get(f"/jobs/{jobs['one.txt']}/status")
    assert one.json() == {"JobStatus": "COMPLETED"}
    assert len(found(site, "many")) == 2


def test_names_of_types_are_taken_by_value_and_by_name_and_keys_in_every_header(
    site: Site,
) -> None:
    names = [("OPEN_AI", "LANCEDB"), ("open_ai", "lancedb"), ("Open_Ai", "LanceDB")]
    local = [("SELF_HOSTED", "LANCEDB"), ("self_hosted", "lancedb"), ("HUGGING_FACE", "LANCEDB")]
    headers = [
        {"Authorization": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"VectorFlowKey": KEY, "Authorization": "of-a-proxy"},
    ]

    answers = [
        site.embed(
            f"Text {number}.",
            headers=headers[number % 3],
            EmbeddingsMetadata=LOCAL | {"embeddings_type": embedder},
            VectorDBMetadata={
                "vector_db_type": store,
                "index_name": "named-open" if number < 3 else "named-local",
            },
        )
        for number, (embedder, store) in enumerate([*names, *local])
    ]

    assert [site.end(answer) for answer in answers] == ["COMPLETED"] * 6
    stored = found(site, "named-open")
    assert all(is_vector_of(row["vector"], str(row["text"])) for row in stored)


def test_an_index_of_pinecone_is_found_by_its_name_and_collection_is_the_namespace(
    site: Site,
) -> None:
    fields = {"_values": {"type": "dense_vector", "dimension": DIMENSIONS, "metric": "cosine"}}
    with Pinecone(PINECONE_KEY, host=site.outside.pinecone) as client:
        made = client.indexes.create(name="test-1536", schema={"fields": fields})
    store = {
        "vector_db_type": "PINECONE",
        "index_name": "test-1536",
        "environment": "us-east-1-aws",
    }

    for collection in ("blue", None):
        named = store | ({"collection": collection} if collection else {})
        site.embedded(
            f"Text of {collection}.",
            headers={"X-VectorDB-Key": PINECONE_KEY},
            EmbeddingsMetadata=OPEN_AI,
            VectorDBMetadata=named,
            DocumentID="rules",
        )
    unknown = site.embed(
        headers={"X-VectorDB-Key": PINECONE_KEY},
        EmbeddingsMetadata=OPEN_AI,
        VectorDBMetadata=store | {"index_name": "not-there"},
    )

    with Index(host=made.host, api_key=PINECONE_KEY) as index:
        for namespace, text in (("blue", "Text of blue."), ("", "Text of None.")):
            ids = [one.id for page in index.list(namespace=namespace) for one in page.vectors]
            [record] = index.fetch(ids=ids, namespace=namespace).vectors.values()
            assert record.metadata["source_text"] == text
            assert record.metadata["source_document"] == "rules"
            assert is_vector_of(record.values, text)
    assert unknown.status_code == 404
    assert "not-there" in unknown.json()["error"]


def test_the_stores_of_the_server_hold_text_document_and_vector(site: Site) -> None:
    site.embedded(
        "Some text.",
        EmbeddingsMetadata=OPEN_AI,
        VectorDBMetadata=OWN_STORE | {"index_name": "own"},
        DocumentID="rules",
        Metadata={"team": "hr"},
    )

    [row] = found(site, "own")
    assert (row["text"], row["document"]) == ("Some text.", "rules")
    assert json.loads(str(row["metadata"])) == {"team": "hr"}
    assert is_vector_of(row["vector"], "Some text.")


@pytest.mark.slow
def test_a_job_waits_for_a_worker_and_is_stored_in_postgresql(
    site: Site, tmp_path: Path, postgres_database: str
) -> None:
    variables = {"VECTORFLOW_STORE": postgres_database, "OPENAI_BASE_URL": site.outside.provider}
    data_dir = tmp_path / "data"
    store = {"vector_db_type": "PGVECTOR", "index_name": "handbook", "environment": ""}
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE EXTENSION vector")
    with (
        running_server(data_dir, INTERNAL_API_KEY=KEY, **variables) as server,
        server.client(VectorFlowKey=KEY) as client,
    ):
        answer = client.post(
            "/jobs",
            data={
                "EmbeddingsMetadata": json.dumps(OPEN_AI),
                "VectorDBMetadata": json.dumps(store),
                "DocumentID": "rules",
            },
            files={"file": ("rules.txt", b"Some text.")},
        )
        job = answer.json()["successful_uploads"]["rules.txt"]
        before = client.get(f"/jobs/{job}/status").json()
        with running_worker(data_dir, **variables):
            assert wait_for_end(client, job) == "COMPLETED"

    assert before == {"JobStatus": "NOT_STARTED"}
    with psycopg.connect(postgres_database) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.columns"
            " WHERE column_name = 'vector'"
        ).fetchall()
        [(schema, table)] = tables
        rows = connection.execute(
            f'SELECT text, document, vector::text FROM "{schema}"."{table}"'  # noqa: S608
        ).fetchall()
    [(text, document, vector)] = rows
    assert (text, document) == ("Some text.", "rules")
    assert is_vector_of(json.loads(vector), text)


def test_n_counts_the_batches_of_so_many_lines_as_if_every_chunk_were_new(site: Site) -> None:
    text = lines(100)
    keeping_one = site.receiver.spot("/keeps-one", say=kept_of_the_first_line)
    store = OWN_STORE | {"index_name": "counted"}

    first = site.embed(text, LinesPerBatch="10", VectorDBMetadata=store)
    site.end(first)
    again = site.embed(text, LinesPerBatch="10", VectorDBMetadata=store)
    older = site.embed(
        text, "older.txt", LinesPerBatch=None, LinesPerChunk="10", VectorDBMetadata=store
    )
    odd = site.embed(lines(101), "odd.txt", LinesPerBatch="10", VectorDBMetadata=store)
    small = site.embed("A line.\n", VectorDBMetadata=store)
    validated = site.embed(
        text,
        "dropped.txt",
        LinesPerBatch="10",
        VectorDBMetadata=store,
        ChunkValidationURL=keeping_one.url,
    )

    assert batches_of(first) == batches_of(again) == batches_of(older) == 10
    assert batches_of(odd) == 11
    assert batches_of(small) == 1
    assert batches_of(validated) == 10
    assert (site.end(again), site.end(validated)) == ("COMPLETED", "COMPLETED")


def kept_of_the_first_line(request: Received) -> dict[str, object]:
    """Let a validation drop nearly all."""
    chunks = request.json["chunks"]
    assert isinstance(chunks, list)
    return {"valid_chunks": [chunk for chunk in chunks if chunk["text"].startswith("Line 0 ")]}


def test_metadata_stands_on_the_stored_payload(site: Site) -> None:
    site.make_collection("labelled")

    site.embedded(
        EmbeddingsMetadata=OPEN_AI,
        VectorDBMetadata=site.qdrant("labelled"),
        Metadata={"team": "hr", "year": 2024, "tags": ["a", "b"]},
    )

    [point] = site.points("labelled")
    assert (point.payload["team"], point.payload["year"]) == ("hr", 2024)
    assert point.payload["tags"] == ["a", "b"]
    assert point.text == TEXT.strip()


def test_another_file_under_a_document_id_replaces_the_one_before(site: Site) -> None:
    site.make_collection("versions")
    fields = {
        "EmbeddingsMetadata": SMALL,
        "VectorDBMetadata": site.qdrant("versions"),
        "DocumentID": "handbook",
    }
    before = lines(20, "Old")
    after = lines(10, "Old") + lines(10, "New")

    site.embedded(before, "a.txt", **fields)
    old = {point.id for point in site.points("versions")}
    site.embedded(after, "b.txt", **fields)
    new = site.points("versions")
    site.embedded(after, "b.txt", **fields)

    assert {point.payload["source_document"] for point in new} == {"handbook"}
    assert all(point.text in after for point in new)
    assert any("New 9" in point.text for point in new)
    assert old - {point.id for point in new}
    assert sorted(one.id for one in site.points("versions")) == sorted(one.id for one in new)


def test_the_same_file_is_one_document_and_another_of_its_name_is_two(site: Site) -> None:
    site.make_collection("same")
    fields = {"EmbeddingsMetadata": OPEN_AI, "VectorDBMetadata": site.qdrant("same")}
    calls = site.outside.stats()["texts"]

    jobs = [site.embedded(text, "same.txt", **fields) for text in ("One.", "One.", "Two.")]

    assert len(set(jobs)) == 3
    points = site.points("same")
    assert sorted(point.text for point in points) == ["One.", "Two."]
    assert len({point.payload["source_document"] for point in points}) == 2
    assert site.outside.stats()["texts"] == int(str(calls)) + 2


def test_text_without_an_extension_is_taken_and_what_is_no_text_fails(site: Site) -> None:
    store = OWN_STORE | {"index_name": "types"}

    plain = site.embed("Grüße, 世界.", "tmp1a2b3c", VectorDBMetadata=store)
    binary = site.embed(b"%PDF-1.7\n\x00\x01\xff\xfe", "scan.pdf", VectorDBMetadata=store)
    empty = site.embed("", "void.txt", VectorDBMetadata=store)

    assert (site.end(plain), site.end(binary)) == ("COMPLETED", "FAILED")
    [failure] = site.failures(job_of(binary))
    assert (failure.code, failure.uri) == ("broken_file", "scan.pdf")
    assert failure.fix
    assert empty.status_code == 400
    assert [row["text"] for row in found(site, "types")] == ["Grüße, 世界."]


def test_a_presigned_url_is_fetched(site: Site) -> None:
    file = site.receiver.spot("/bucket/rules.txt", b"Text from afar.")
    fields = {
        "EmbeddingsMetadata": json.dumps(LOCAL),
        "VectorDBMetadata": json.dumps(OWN_STORE | {"index_name": "fetched"}),
        "PreSignedURL": f"{file.url}?X-Amz-Signature=of-this-test",
    }
    parts = {name: (None, value) for name, value in fields.items()}

    answer = site.client.post("/s3", files=parts)
    missing = site.client.post("/s3", files=parts | {"PreSignedURL": (None, "")})

    assert batches_of(answer) == 1
    assert site.end(answer) == "COMPLETED"
    assert [row["text"] for row in found(site, "fetched")] == ["Text from afar."]
    assert str(found(site, "fetched")[0]["document"]).startswith("rules.txt-")
    assert missing.status_code == 400
    assert "PreSignedURL" in missing.json()["error"]


def test_what_embed_refuses_for_its_size_jobs_takes(site: Site) -> None:
    text = TEXT * (1 + MIB // len(TEXT))
    whole = LOCAL | {"chunk_strategy": "EXACT_BY_CHARACTERS", "chunk_size": 1_000_000}
    fields = {"EmbeddingsMetadata": whole, "VectorDBMetadata": OWN_STORE | {"index_name": "large"}}

    refused = site.embed(text, "large.txt", **fields)
    taken = site.upload([("large.txt", text)], **fields)

    assert refused.status_code == 413
    assert "/jobs" in refused.json()["error"]
    assert site.end(taken.json()["successful_uploads"]["large.txt"]) == "COMPLETED"
    words = [str(row["text"]).count(" ") for row in found(site, "large")]
    assert sum(words) == text.count(" ")


def test_every_answer_is_an_object_with_what_to_do(site: Site) -> None:
    with site.server.client(Authorization="wrong") as stranger:
        answers = {
            401: [stranger.post("/embed", content=b"nonsense"), stranger.get("/no/route")],
            400: [
                site.embed(EmbeddingsMetadata="{"),
                site.embed(EmbeddingsMetadata={"embeddings_type": "COHERE"}),
                site.embed(VectorDBMetadata={"vector_db_type": "NONSENSE", "index_name": "x"}),
                site.embed(LinesPerBatch="abc"),
                site.embed(WebhookURL="http://127.0.0.1/hook"),
                site.embed(EmbeddingsMetadata=LOCAL | {"chunk_overlap": 64}),
                site.client.post("/jobs/status", json={}),
                site.upload([]),
            ],
            404: [site.client.get("/jobs/999999/status"), site.client.get("/dequeue")],
            405: [site.client.get("/embed"), site.client.put("/jobs/1/status")],
            415: [site.client.post("/jobs/status", content=b"x")],
        }

    for status, several in answers.items():
        for answer in several:
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/json"
            assert len(answer.json()["error"]) > 20
