import asyncio
import re
from dataclasses import replace
from functools import partial

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from tests.unit.api.door import (
    EMBEDDINGS,
    KEY,
    STORE,
    a_file,
    client_of,
    form,
    sentence,
    uploads_kept,
)
from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.api.backend import Backend, Place, StoreNamed
from vectorflow.domain.documents import content_hash
from vectorflow.errors import OutOfSpace, Unavailable
from vectorflow.ledger import reads, uploads
from vectorflow.ledger.reads import UploadView
from vectorflow.ledger.tables import documents, jobs, versions
from vectorflow.wiring import Parts

HASH = content_hash(b"Some text.")


async def embed(client: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await client.post("/embed", data=form(**fields), files=a_file())


async def external_ids(parts: Parts) -> list[str]:
    statement = select(documents.c.external_id).order_by(documents.c.id)
    return await parts.database.read(lambda ledger: list(ledger.execute(statement).scalars()))


async def version(parts: Parts) -> dict[str, object]:
    """The only version in the ledger."""

    def read(ledger: Connection) -> dict[str, object]:
        return dict(ledger.execute(select(versions)).one()._mapping)  # noqa: SLF001 - SQLAlchemy's

    return await parts.database.read(read)


async def job_count(parts: Parts) -> int:
    statement = select(func.count()).select_from(jobs)
    return await parts.database.read(lambda ledger: ledger.execute(statement).scalar_one())


async def test_an_upload_is_answered_with_its_job(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    answer = await embed(client)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    job = answer.json()["JobID"]
    assert answer.json() == {
        "message": "Successfully added 1 batches to the queue",
        "JobID": job,
    }
    assert isinstance(job, int)
    view = await parts.database.read(partial(reads.job, tenant="default", id=job))
    assert (view.index, view.docs_total, view.documents_new) == ("docs", 1, 1)
    kept = await version(parts)
    found = partial(reads.uploads, jobs=[job])
    assert await parts.database.read(found) == {job: UploadView(extracting=True, parts=0)}
    assert (kept["uri"], kept["raw_hash"], kept["extractor"]) == ("a.txt", HASH, "text")
    assert await backend.blobs.read(str(kept["blob"])) == b"Some text."


async def test_the_answer_counts_the_batches_of_a_running_worker(
    parts: Parts, backend: Backend
) -> None:
    patient = replace(backend, limits=replace(backend.limits, answer_seconds=30.0))
    text = b"".join(b"Line %d of a longer text.\n\n" % line for line in range(60_000))[: 1 << 20]
    stop = asyncio.Event()
    worker = asyncio.create_task(parts.run_worker(stop))

    async with client_of(patient, vectorflowkey=KEY) as waiting:
        answer = await waiting.post(
            "/embed",
            data=form(EmbeddingsMetadata=EMBEDDINGS | {"chunk_size": 16, "chunk_overlap": 0}),
            files=a_file(text),
        )
    stop.set()
    await worker

    found = re.fullmatch(r"Successfully added (\d+) batches to the queue", answer.json()["message"])
    assert found is not None
    job = answer.json()["JobID"]
    view = (await parts.database.read(partial(reads.uploads, jobs=[job])))[job]
    assert not view.extracting
    assert int(found[1]) == view.parts > 1


@pytest.mark.parametrize("path", ["/embed", "//embed", "/embed/", "//embed//"])
async def test_slashes_too_many_are_forgiven(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(f"http://api{path}", data=form(), files=a_file())

    assert answer.status_code == 200


async def test_the_document_id_names_the_document(client: httpx.AsyncClient, parts: Parts) -> None:
    first = await embed(client, DocumentID="handbook/1")
    await client.post("/embed", data=form(DocumentID="handbook/1"), files=a_file(b"New text."))

    assert first.status_code == 200
    assert await external_ids(parts) == ["handbook/1"]


async def test_without_an_id_the_same_file_is_one_document_and_another_of_its_name_is_two(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    for data in (b"Some text.", b"Some text.", b"Other text."):
        await client.post("/embed", data=form(), files=a_file(data, "same.txt"))

    assert await external_ids(parts) == [
        f"same.txt-{HASH}",
        f"same.txt-{content_hash(b'Other text.')}",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\boot.ini",
        "C:relative",
        "~",
        ".",
        "..",
        "a;b=c",
        'quo"te.txt',
        "Grüße 世界.txt",
        "noextension",
        "x" * 500,
    ],
)
async def test_a_file_name_is_data_only(
    client: httpx.AsyncClient, parts: Parts, backend: Backend, name: str
) -> None:
    answer = await client.post("/embed", data=form(), files=a_file(name=name))

    assert answer.status_code == 200, answer.text
    [kept] = await external_ids(parts)
    assert kept.replace("%22", '"') == f"{name}-{HASH}"
    blob = str((await version(parts))["blob"])
    assert re.fullmatch(r"uploads/[0-9a-f]{32}", blob)
    assert await uploads_kept(backend) == 1


async def test_metadata_is_kept_on_the_document(client: httpx.AsyncClient, parts: Parts) -> None:
    metadata = {"team": "hr", "pages": [1, 2], "n": {"x": None}, "ratio": 0.5, "id": 2**63 - 1}

    answer = await embed(client, Metadata=metadata)

    assert answer.status_code == 200, answer.text
    assert (await version(parts))["metadata"] == metadata


@pytest.mark.parametrize("kind", ["self_hosted", "SELF_HOSTED", "Hugging_Face", "HUGGING_FACE"])
@pytest.mark.parametrize("store", ["memory", "MEMORY"])
async def test_names_are_taken_in_any_case(
    client: httpx.AsyncClient, kind: str, store: str
) -> None:
    answer = await embed(
        client,
        EmbeddingsMetadata={"embeddings_type": kind},
        VectorDBMetadata=STORE | {"vector_db_type": store},
    )

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("plugin", "type_"),
    [
        ("lancedb", "lancedb"),
        ("lancedb", "LANCEDB"),
        ("qdrant", "QDRANT"),
        ("pinecone", "Pinecone"),
        ("postgresql", "PGVECTOR"),
        ("postgresql", "pgvector"),
        ("postgresql", "postgresql"),
    ],
)
async def test_the_type_of_a_store_names_its_plugin(
    backend: Backend, parts: Parts, plugin: str, type_: str
) -> None:
    asked: list[StoreNamed] = []

    async def place(_tenant: str, named: StoreNamed) -> Place:
        asked.append(named)
        return Place(store=parts.store_locator(), index=named.index_name)

    async with client_of(replace(backend, place=place), vectorflowkey=KEY) as client:
        answer = await embed(client, VectorDBMetadata=STORE | {"vector_db_type": type_})

    assert answer.status_code == 200, answer.text
    assert [named.plugin for named in asked] == [plugin]


async def test_the_environment_may_name_the_store_of_this_server(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    locator = parts.store_locator()

    for name in (None, "", locator, locator.removeprefix("memory://"), "qdrant"):
        answer = await embed(client, VectorDBMetadata=STORE | {"environment": name})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("strategy", "chunker"),
    [
        (None, "default"),
        ("", "default"),
        ("EXACT", "tokens"),
        ("exact", "tokens"),
        ("EXACT_BY_CHARACTERS", "characters"),
        ("PARAGRAPH", "paragraphs"),
        ("paragraph_by_characters", "paragraphs_by_characters"),
        ("Sentence", "sentences"),
        ("SENTENCE_BY_CHARACTERS", "sentences_by_characters"),
        ("Recursive", "recursive"),
        ("MARKDOWN", "markdown"),
        ("html", "html"),
        ("code", "code"),
        ("rows", "rows"),
        ("lines", "lines"),
        ("pages", "pages"),
    ],
)
async def test_the_strategy_names_the_chunker(
    backend: Backend, strategy: str | None, chunker: str
) -> None:
    asked = []

    def pipeline(wanted: object) -> object:
        asked.append(wanted)
        return backend.pipeline(wanted)  # type: ignore[arg-type]

    watched = replace(backend, pipeline=pipeline)  # type: ignore[arg-type]
    async with client_of(watched, vectorflowkey=KEY) as client:
        answer = await embed(client, EmbeddingsMetadata=EMBEDDINGS | {"chunk_strategy": strategy})

    assert answer.status_code == 200, answer.text
    made = backend.pipeline(asked[0])
    assert made.recipe.chunking.chunker == chunker
    assert (made.recipe.chunking.size, made.recipe.chunking.overlap) == (128, 16)


@pytest.mark.parametrize(
    ("metadata", "field", "size", "overlap"),
    [
        ({}, None, 512, 64),
        ({"chunk_size": 100}, None, 100, 12),
        ({"chunk_size": 100, "chunk_overlap": 0}, None, 100, 0),
        ({"chunk_size": 100}, "30", 100, 30),
        ({"chunk_size": 100, "chunk_overlap": 20}, "30", 100, 20),
        ({"chunk_size": None, "chunk_overlap": None}, "", 512, 64),
    ],
)
async def test_sizes_not_given_are_those_of_the_server(
    client: httpx.AsyncClient,
    parts: Parts,
    metadata: dict[str, object],
    field: str | None,
    size: int,
    overlap: int,
) -> None:
    given = {"embeddings_type": "self_hosted"} | metadata

    answer = await embed(client, EmbeddingsMetadata=given, chunk_overlap=field)

    assert answer.status_code == 200, answer.text
    statement = "SELECT json_extract(spec, '$.recipe.chunking') FROM pipelines"

    def chunking(ledger: Connection) -> str:
        return str(ledger.exec_driver_sql(statement).scalar_one())

    assert await parts.database.read(chunking) == (
        f'{{"chunker":"default","size":{size},"overlap":{overlap},"lines":null}}'
    )


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"EmbeddingsMetadata": None}, "EmbeddingsMetadata is missing"),
    ({"EmbeddingsMetadata": ""}, "EmbeddingsMetadata is missing"),
    ({"EmbeddingsMetadata": "{"}, "EmbeddingsMetadata is not JSON"),
    ({"EmbeddingsMetadata": "[]"}, "EmbeddingsMetadata"),
    ({"EmbeddingsMetadata": "null"}, "EmbeddingsMetadata"),
    ({"EmbeddingsMetadata": "[" * 60_000}, "EmbeddingsMetadata"),
    ({"EmbeddingsMetadata": {}}, "EmbeddingsMetadata.embeddings_type"),
    ({"EmbeddingsMetadata": {"embeddings_type": 3}}, "embeddings_type"),
    ({"EmbeddingsMetadata": {"embeddings_type": "open_ai"}}, "send it in the header X-Embedding"),
    ({"EmbeddingsMetadata": {"embeddings_type": "OPEN_AI", "model": "x"}}, "'x'"),
    ({"EmbeddingsMetadata": {"embeddings_type": "COHERE"}}, "open_ai, self_hosted, hugging_face"),
    ({"EmbeddingsMetadata": {"embeddings_type": "nonsense"}}, "'nonsense' is not available"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_size": 0}}, "chunk_size"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_size": -1}}, "chunk_size"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_size": "many"}}, "chunk_size"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_size": 1 << 40}}, "chunk_size"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_size": 100_000}}, "100000"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_overlap": 128}}, "overlap below 128"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_overlap": 500}}, "overlap below 128"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_overlap": -1}}, "chunk_overlap"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_strategy": "CUSTOM"}}, "send one of exact"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_strategy": "./mine.py:cut"}}, "send one of exact"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_strategy": "os:system"}}, "send one of exact"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"chunk_strategy": 3}}, "chunk_strategy"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"model": "other"}}, "not 'other'"),
    ({"EmbeddingsMetadata": EMBEDDINGS | {"hugging_face_model_name": "x/y"}}, "not 'x/y'"),
    ({"VectorDBMetadata": None}, "VectorDBMetadata is missing"),
    ({"VectorDBMetadata": "nonsense"}, "VectorDBMetadata is not JSON"),
    ({"VectorDBMetadata": {"vector_db_type": "memory"}}, "VectorDBMetadata.index_name"),
    ({"VectorDBMetadata": {"index_name": "docs"}}, "VectorDBMetadata.vector_db_type"),
    ({"VectorDBMetadata": STORE | {"vector_db_type": "LANCEDB"}}, "send memory"),
    ({"VectorDBMetadata": STORE | {"vector_db_type": "WEAVIATE"}}, "not available yet"),
    ({"VectorDBMetadata": STORE | {"vector_db_type": "PINECONE"}}, "no key for Pinecone"),
    ({"VectorDBMetadata": STORE | {"vector_db_type": ""}}, "send memory"),
    ({"VectorDBMetadata": STORE | {"environment": "memory://other"}}, "leave it empty"),
    ({"VectorDBMetadata": STORE | {"environment": "http://169.254.169.254/"}}, "leave it empty"),
    ({"VectorDBMetadata": STORE | {"environment": "a\0b"}}, "leave it empty"),
    ({"VectorDBMetadata": STORE | {"index_name": ""}}, "index name"),
    ({"VectorDBMetadata": STORE | {"index_name": "../x"}}, "index name"),
    ({"VectorDBMetadata": STORE | {"index_name": "x" * 500}}, "index name"),
    ({"LinesPerBatch": "abc"}, "LinesPerBatch"),
    ({"LinesPerBatch": "0"}, "LinesPerBatch"),
    ({"LinesPerBatch": "-5"}, "LinesPerBatch"),
    ({"LinesPerBatch": "1.5"}, "LinesPerBatch"),
    ({"LinesPerBatch": "٣"}, "LinesPerBatch"),
    ({"LinesPerChunk": "abc"}, "LinesPerChunk"),
    ({"chunk_overlap": "some"}, "chunk_overlap"),
    ({"WebhookURL": "https://example.org/hook"}, "send the key in the header X-Webhook-Key"),
    ({"WebhookURL": "https://10.0.0.1/hook"}, "WebhookURL: '10.0.0.1' may not be called"),
    ({"ChunkValidationURL": "ftp://example.org"}, "ChunkValidationURL: not an address"),
    ({"ChunkValidationURL": "http://169.254.169.254/x"}, "VECTORFLOW_HOOKS__ALLOW"),
    ({"PreSignedURL": "https://example.org/x"}, "a file and a PreSignedURL"),
    ({"DocumentID": "x" * 1001}, "DocumentID"),
    ({"DocumentID": "a\nb"}, "DocumentID"),
    ({"DocumentID": "a\0b"}, "DocumentID"),
    ({"Metadata": "nonsense"}, "Metadata is not JSON"),
    ({"Metadata": "[]"}, "Metadata"),
    ({"Metadata": '"text"'}, "Metadata"),
    ({"Metadata": '{"a": NaN}'}, "Metadata"),
    ({"Metadata": '{"a": Infinity}'}, "Metadata"),
    ({"Metadata": '{"a": 1e999}'}, "Metadata"),
    ({"Metadata": '{"a": ' + "9" * 5000 + "}"}, "Metadata"),
    ({"Metadata": '{"a": 9223372036854775808}'}, "Metadata"),
    ({"Metadata": '{"a": "\\u0000"}'}, "Metadata"),
    ({"Metadata": '{"a": [{"\\u0000": 1}]}'}, "Metadata"),
    ({"Metadata": '{"a": "\\ud800"}'}, "Metadata"),
    ({"Metadata": '{"a":' * 10_000}, "Metadata"),
]


@pytest.mark.parametrize(("fields", "says"), REFUSED, ids=[str(case)[:60] for case in REFUSED])
async def test_a_form_that_cannot_be_met_is_400_and_nothing_of_it_is_kept(
    client: httpx.AsyncClient,
    parts: Parts,
    backend: Backend,
    fields: dict[str, object],
    says: str,
) -> None:
    answer = await embed(client, **fields)

    assert says in sentence(answer, 400)
    assert await uploads_kept(backend) == 0
    assert await job_count(parts) == 0


async def test_a_size_beyond_the_model_names_its_limit(client: httpx.AsyncClient) -> None:
    asked = EMBEDDINGS | {"chunk_size": 2_000_000, "chunk_overlap": 0}

    error = sentence(await embed(client, EmbeddingsMetadata=asked), 400)

    assert re.search(r"chunk size of \d+ or less", error)


async def test_fields_that_nobody_knows_are_left_alone(client: httpx.AsyncClient) -> None:
    answer = await embed(
        client,
        Whatever="x",
        WebhookURL="",
        LinesPerBatch="1000",
        LinesPerChunk="10",
        EmbeddingsMetadata=EMBEDDINGS | {"docker_image": "x", "model": "hash:8", "more": [1]},
        VectorDBMetadata=STORE | {"collection": "c"},
    )

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "data", [b"", b" ", b"\n\t\r\n  ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n", b" " * 300_000]
)
async def test_an_empty_document_is_refused_at_the_door(
    client: httpx.AsyncClient, backend: Backend, data: bytes
) -> None:
    answer = await client.post("/embed", data=form(), files=a_file(data))

    assert "no text" in sentence(answer, 400)
    assert await uploads_kept(backend) == 0


async def test_a_form_without_a_file_is_400(client: httpx.AsyncClient) -> None:
    files = {name: (None, value) for name, value in form().items()}

    error = sentence(await client.post("/embed", files=files), 400)

    assert "SourceData" in error


async def test_an_idempotency_key_makes_a_repeated_request_the_same_job(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    headers = {"idempotency-key": "once"}
    first = await client.post("/embed", data=form(), files=a_file(), headers=headers)

    again = await client.post("/embed", data=form(), files=a_file(), headers=headers)

    assert again.json()["JobID"] == first.json()["JobID"]
    assert await job_count(parts) == 1
    assert await uploads_kept(backend) == 1


@pytest.mark.parametrize(
    ("fields", "data", "name"),
    [
        ({"DocumentID": "x"}, b"Some text.", "a.txt"),
        ({}, b"Other text.", "a.txt"),
        ({}, b"Some text.", "b.txt"),
        ({"LinesPerBatch": "7"}, b"Some text.", "a.txt"),
    ],
)
async def test_an_idempotency_key_with_another_request_is_409(
    client: httpx.AsyncClient,
    parts: Parts,
    backend: Backend,
    fields: dict[str, object],
    data: bytes,
    name: str,
) -> None:
    headers = {"idempotency-key": "once"}
    await client.post("/embed", data=form(), files=a_file(), headers=headers)

    again = await client.post(
        "/embed", data=form(**fields), files=a_file(data, name), headers=headers
    )

    assert "new key" in sentence(again, 409)
    assert await job_count(parts) == 1
    assert await uploads_kept(backend) == 1


async def test_the_same_requests_without_a_key_are_two_jobs(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    await embed(client)
    await embed(client)

    assert await job_count(parts) == 2


@pytest.mark.parametrize("key", ["x" * 201, "a\tb"])
async def test_an_idempotency_key_that_cannot_be_kept_is_400(
    client: httpx.AsyncClient, key: str
) -> None:
    answer = await client.post(
        "/embed", data=form(), files=a_file(), headers={"idempotency-key": key}
    )

    assert "Idempotency-Key" in sentence(answer, 400)


async def test_below_the_floor_uploads_are_503(backend: Backend) -> None:
    full = replace(backend, blobs=MemoryBlobStore(capacity=1000))
    full = replace(full, limits=replace(full.limits, free_floor_bytes=1000))

    async with client_of(full, vectorflowkey=KEY) as client:
        answer = await embed(client)
        status = await client.get("/jobs/1/status")

    assert "no room" in sentence(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert status.status_code == 404


async def test_a_disk_that_fills_up_in_the_middle_is_503(backend: Backend, parts: Parts) -> None:
    class Full(MemoryBlobStore):
        async def put(self, key: str, parts: object) -> int:
            raise OutOfSpace(f"no room for blob {key!r}")

    async with client_of(replace(backend, blobs=Full()), vectorflowkey=KEY) as client:
        answer = await embed(client)

    assert "uploads/" not in sentence(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert await job_count(parts) == 0


async def test_an_upload_stays_where_it_is_not_sure_that_nothing_was_committed(
    parts: Parts, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection may break after the commit: the job is there then, and needs its bytes."""
    real = uploads.take_uploads

    def accept(connection: Connection, **arguments: object) -> int:
        real(connection, **arguments)  # type: ignore[arg-type]
        connection.commit()
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(uploads, "take_uploads", accept)

    async with client_of(backend, vectorflowkey=KEY) as client:
        answer = await embed(client)

    sentence(answer, 503)
    assert await job_count(parts) == 1
    assert await uploads_kept(backend) == 1


async def test_an_accepted_job_is_answered_even_if_the_ledger_falls_silent_then(
    parts: Parts, backend: Backend
) -> None:
    class Silent:
        async def read(self, transaction: object) -> object:
            if getattr(transaction, "func", None) is reads.uploads:
                raise Unavailable("the database does not answer")
            return await parts.database.read(transaction)  # type: ignore[arg-type]

        write = parts.database.write

    silent = replace(backend, database=Silent())  # type: ignore[arg-type]
    async with client_of(silent, vectorflowkey=KEY) as client:
        answer = await embed(client)

    assert answer.json()["message"] == "Successfully added 1 batches to the queue"


async def test_twenty_uploads_at_once_are_twenty_jobs(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    answers = await asyncio.gather(
        *(
            client.post("/embed", data=form(), files=a_file(b"Text %d." % number, "same.txt"))
            for number in range(20)
        )
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["JobID"] for answer in answers}) == 20
    assert len(await external_ids(parts)) == 20
    assert await uploads_kept(backend) == 20


async def test_an_unchanged_document_makes_a_job_that_is_done_and_keeps_no_second_upload(
    client: httpx.AsyncClient, parts: Parts, backend: Backend
) -> None:
    first = await embed(client)
    stop = asyncio.Event()
    worker = asyncio.create_task(parts.run_worker(stop))
    path = f"/jobs/{first.json()['JobID']}/status"
    while (await client.get(path)).json()["JobStatus"] != "COMPLETED":
        pass
    stop.set()
    await worker
    kept = await uploads_kept(backend)

    again = await embed(client)

    status = await client.get(f"/jobs/{again.json()['JobID']}/status")
    assert status.json() == {"JobStatus": "COMPLETED"}
    assert await uploads_kept(backend) == kept


@given(body=st.binary(max_size=300), boundary=st.sampled_from(["x", "", "y" * 300]))
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_no_body_makes_the_server_fail(
    client: httpx.AsyncClient, body: bytes, boundary: str
) -> None:
    kind = f"multipart/form-data; boundary={boundary}"

    answer = await client.post("/embed", content=body, headers={"content-type": kind})

    sentence(answer, 400)
