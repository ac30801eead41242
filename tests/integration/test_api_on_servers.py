"""The API on the ledger of a server, where transactions really run side by side."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.unit.api.door import KEY, a_file, client_of, form
from vectorflow import settings
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database
from vectorflow.wiring import Parts
from vectorflow.wiring.api import api_backend

AT_ONCE = 20


@pytest.fixture(params=["postgres", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty database, before the loop runs."""
    empty: str = request.getfixturevalue(f"{request.param}_database")
    return empty


@pytest.fixture
async def client(url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    database = Database(url)
    schema.upgrade(database)
    database.close()
    given = {
        "data_dir": tmp_path,
        "database.url": url,
        "embedder": "hash:8",
        "store": f"memory://{uuid.uuid4().hex}",
        "api.key": KEY,
        "blobs.free_floor_bytes": 0,
    }
    async with Parts(settings.load(given, environ={}, directory=tmp_path)) as parts:
        backend = api_backend(parts, environ={})
        backend = replace(backend, limits=replace(backend.limits, answer_seconds=0.0))
        async with client_of(backend, vectorflowkey=KEY) as opened:
            yield opened


async def jobs_of(client: httpx.AsyncClient, texts: list[bytes], **fields: str) -> set[int]:
    """Upload all at once and give the jobs."""
    headers = {"idempotency-key": fields.pop("key", "")}
    answers = await asyncio.gather(
        *(
            client.post("/embed", data=form(**fields), files=a_file(text), headers=headers)
            for text in texts
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["JobID"] for answer in answers}


async def test_versions_of_one_document_sent_at_once_are_all_accepted(
    client: httpx.AsyncClient,
) -> None:
    texts = [b"Text %d." % number for number in range(AT_ONCE)]

    assert len(await jobs_of(client, texts, DocumentID="one")) == AT_ONCE


async def test_one_idempotency_key_sent_at_once_is_one_job(client: httpx.AsyncClient) -> None:
    assert len(await jobs_of(client, [b"Text."] * AT_ONCE, key="once")) == 1
