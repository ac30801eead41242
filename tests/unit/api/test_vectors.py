import io
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.exporting import until_ended
from tests.unit.api.door import a_file, client_of, form, sentence
from vectorflow.api.backend import Backend
from vectorflow.domain.access import KeyScope
from vectorflow.errors import KeyRefused
from vectorflow.ledger import keys
from vectorflow.wiring import Parts

NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


async def job_of(client: httpx.AsyncClient, data: bytes = b"Some text.", **fields: object) -> int:
    answer = await client.post("/embed", data=form(**fields), files=a_file(data))
    job: int = answer.json()["JobID"]
    return job


@pytest.fixture
async def job(parts: Parts, client: httpx.AsyncClient) -> int:
    """A job that has ended, of one document of one chunk."""
    made = await job_of(client)
    await until_ended(parts, made)
    return made


async def ask(
    client: httpx.AsyncClient, job: int, query: str = "", **headers: str
) -> httpx.Response:
    return await client.get(f"/v1/jobs/{job}/vectors{query}", headers=headers)


def lines_of(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


async def test_a_record_is_a_json_object_on_a_line_and_an_end_says_how_many(
    parts: Parts, client: httpx.AsyncClient, job: int
) -> None:
    answer = await ask(client, job)

    record, end = lines_of(answer)
    embedder = await parts.embedder(parts.settings.embedder)
    [vector] = await embedder.embed(["Some text."], "document")
    assert answer.headers["content-type"] == NDJSON
    assert answer.headers["content-disposition"] == f'attachment; filename="job-{job}.ndjson"'
    assert list(record) == [
        "id", "document", "position", "start", "end", "page", "headings", "text", "metadata",
        "vector",
    ]  # fmt: skip
    assert record["text"] == "Some text."
    assert str(record["document"]).startswith("a.txt-")
    assert (record["position"], record["start"], record["end"]) == (0, 0, 10)
    assert (record["page"], record["headings"], record["metadata"]) == (None, [], {})
    assert (np.array(record["vector"], dtype=np.float32) == vector).all()
    assert end == {"end": True, "records": 1}


@pytest.mark.parametrize(
    ("query", "accept", "given"),
    [
        ("", "*/*", NDJSON),
        ("", "", NDJSON),
        ("", "application/*", NDJSON),
        ("", NDJSON, NDJSON),
        ("", ARROW, ARROW),
        ("", PARQUET.upper(), PARQUET),
        ("", f"text/html, {PARQUET};q=0.5, {ARROW};q=0.9, */*;q=0.1", ARROW),
        ("", f"{ARROW};q=0, {PARQUET}", PARQUET),
        ("", "text/html,*/*;q=0.8", NDJSON),
        ("?format=arrow", NDJSON, ARROW),
        ("?format=Parquet", "text/html", PARQUET),
        (f"?format={ARROW}", "*/*", ARROW),
    ],
)
async def test_the_format_is_the_one_asked_for(
    client: httpx.AsyncClient, job: int, query: str, accept: str, given: str
) -> None:
    answer = await ask(client, job, query, accept=accept)

    assert answer.headers["content-type"] == given
    if given == ARROW:
        assert len(pa.ipc.open_stream(answer.content).read_all()) == 1
    elif given == PARQUET:
        assert len(pq.read_table(io.BytesIO(answer.content))) == 1
    else:
        assert lines_of(answer)[-1] == {"end": True, "records": 1}


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("", "text/html"),
        ("", "application/json"),
        ("", f"{ARROW};q=x"),
        ("?format=csv", "*/*"),
        ("?format=", "*/*"),
    ],
)
async def test_another_format_is_406_and_names_the_three(
    client: httpx.AsyncClient, job: int, query: str, accept: str
) -> None:
    error = sentence(await ask(client, job, query, accept=accept), 406)

    assert all(name in error for name in (NDJSON, ARROW, PARQUET))


async def test_a_wait_that_is_no_boolean_is_400(client: httpx.AsyncClient, job: int) -> None:
    assert "wait=false" in sentence(await ask(client, job, "?wait=soon"), 400)


@pytest.mark.parametrize("form_name", ["ndjson", "arrow", "parquet"])
async def test_a_job_that_has_nothing_yet_gives_a_whole_and_empty_file_without_waiting(
    client: httpx.AsyncClient, form_name: str
) -> None:
    job = await job_of(client)

    answer = await ask(client, job, f"?wait=false&format={form_name}")

    if form_name == "ndjson":
        assert lines_of(answer) == [{"end": True, "records": 0}]
    elif form_name == "arrow":
        table = pa.ipc.open_stream(answer.content).read_all()
        assert (len(table), table.schema.field("vector").type) == (0, pa.list_(pa.float32(), 8))
    else:
        table = pq.read_table(io.BytesIO(answer.content))
        assert (len(table), table.schema.field("vector").type) == (0, pa.list_(pa.float32(), 8))


@pytest.mark.parametrize("fields", [{}, {"DocumentID": "one"}])
async def test_an_upload_that_was_unchanged_gives_what_is_live(
    parts: Parts, client: httpx.AsyncClient, fields: dict[str, str]
) -> None:
    first = await job_of(client, **fields)
    await until_ended(parts, first)
    second = await job_of(client, **fields)

    assert second != first
    assert len(lines_of(await ask(client, second))) == 2
    assert lines_of(await ask(client, second)) == lines_of(await ask(client, first))


async def test_an_upload_that_was_unchanged_gives_nothing_of_what_came_later(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    await until_ended(parts, await job_of(client, b"One.", DocumentID="d"))
    unchanged = await job_of(client, b"One.", DocumentID="d")
    assert lines_of(await ask(client, unchanged))[0]["text"] == "One."

    await until_ended(parts, await job_of(client, b"Two.", DocumentID="d"))

    assert lines_of(await ask(client, unchanged)) == [{"end": True, "records": 0}]


@pytest.mark.parametrize("unknown", [0, -1, 999, 1 << 70])
async def test_an_unknown_job_is_404(client: httpx.AsyncClient, unknown: int) -> None:
    assert "there is no such job" in sentence(await ask(client, unknown), 404)


@pytest.fixture
async def stranger(parts: Parts, backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    issue = partial(keys.issue_key, tenant="other", name="theirs")
    issued = await parts.database.write(issue)
    async with client_of(backend, vectorflowkey=issued.key) as opened:
        yield opened


async def test_the_job_of_another_tenant_is_404(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, job: int
) -> None:
    theirs = sentence(await ask(stranger, job), 404)

    assert theirs == sentence(await ask(client, 999), 404)


async def test_a_key_that_may_not_read_is_403(parts: Parts, backend: Backend, job: int) -> None:
    issue = partial(keys.issue_key, tenant="default", name="up", scopes=[KeyScope.EMBED])
    issued = await parts.database.write(issue)

    async with client_of(backend, vectorflowkey=issued.key) as uploader:
        assert "'read'" in sentence(await ask(uploader, job), 403)
        assert "'read'" in sentence(await ask(uploader, 999), 403)


@pytest.mark.parametrize("key", ["x" * 5000, "\x7f"])
async def test_a_key_of_the_store_that_cannot_be_one_is_400(
    client: httpx.AsyncClient, job: int, key: str
) -> None:
    answer = await client.get(f"/v1/jobs/{job}/vectors", headers={"x-vectordb-key": key})

    assert "X-VectorDB-Key" in sentence(answer, 400)


async def test_a_store_that_cannot_be_read_has_a_status_of_its_own(
    parts: Parts, client: httpx.AsyncClient, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await parts.store(parts.store_locator())

    async def refuse(_index: str, _ids: object) -> pa.Table:
        raise KeyRefused("the store refused the key", fix="send it in X-VectorDB-Key")

    monkeypatch.setattr(store, "fetch", refuse)

    assert "X-VectorDB-Key" in sentence(await ask(client, job), 400)


def test_the_reference_tells_of_every_field_and_format() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "http.md"
    text = page.read_text("utf-8")

    words = [NDJSON, ARROW, PARQUET, "wait=false", "headings", '{"end": true, "records": ']
    assert [word for word in words if word not in text] == []
