from dataclasses import replace

import httpx
import pytest

from tests.scraped import scraped
from tests.unit.api.door import KEY, client_of, form, sentence
from tests.unit.api.test_backlog import issued
from vectorflow import __version__
from vectorflow.api.backend import Backend
from vectorflow.api.metrics import make_metrics_app
from vectorflow.domain.access import KeyScope
from vectorflow.wiring import Parts

SECRET = "canary-secret-5b1e"  # noqa: S105 - that is what is looked for
MARK = "canary-of-a-document-77c0"


async def ask(backend: Backend, key: str) -> httpx.Response:
    async with client_of(backend, Authorization=f"Bearer {key}") as client:
        return await client.get("/metrics")


def opened(backend: Backend) -> Backend:
    return replace(backend, metrics=replace(backend.metrics, open=True))


async def upload(backend: Backend, *, headers: dict[str, str] | None = None) -> None:
    impatient = replace(backend, limits=replace(backend.limits, answer_seconds=0.01))
    async with client_of(impatient, VectorFlowKey=KEY) as client:
        file = {"SourceData": (f"{MARK}.txt", f"Text with {MARK}.".encode())}
        given = form(DocumentID=MARK)
        answer = await client.post("/embed", data=given, files=file, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_metrics_tell_how_the_ledger_stands(backend: Backend) -> None:
    await upload(backend)

    answer = await ask(backend, KEY)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = scraped(answer.text)
    assert found[f'vectorflow_info{{version="{__version__}"}}'] == 1
    assert found["vectorflow_ledger_up"] == 1
    ready = 'vectorflow_backlog_batches{kind="extract",lane="interactive",state="ready"}'
    assert found[ready] == 1
    assert found['vectorflow_open_jobs{state="running"}'] == 1


async def test_metrics_tell_no_secret_no_text_and_no_name(parts: Parts, backend: Backend) -> None:
    await upload(backend, headers={"X-EmbeddingAPI-Key": SECRET, "X-VectorDB-Key": SECRET})
    key = issued(parts, KeyScope.READ, parts.tenant)

    page = (await ask(backend, key)).text

    assert [word for word in (SECRET, MARK, KEY, key, parts.tenant) if word in page] == []


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_without_a_good_key_metrics_are_refused(backend: Backend, key: str) -> None:
    assert "the key is missing" in sentence(await ask(backend, key), 401)


@pytest.mark.parametrize("scope", KeyScope)
async def test_metrics_are_for_keys_that_may_read(
    parts: Parts, backend: Backend, scope: KeyScope
) -> None:
    answer = await ask(backend, issued(parts, scope, parts.tenant))

    if scope in {KeyScope.READ, KeyScope.ADMIN}:
        assert answer.status_code == 200
    else:
        assert "lacks the scope 'read'" in sentence(answer, 403)


async def test_metrics_are_not_for_other_tenants(parts: Parts, backend: Backend) -> None:
    answer = await ask(backend, issued(parts, KeyScope.ADMIN, "another"))

    assert "that of all tenants" in sentence(answer, 403)


@pytest.mark.parametrize("key", ["", "wrong", KEY])
async def test_metrics_that_are_open_need_no_key(backend: Backend, key: str) -> None:
    assert (await ask(opened(backend), key)).status_code == 200


async def test_nothing_else_is_open_then(backend: Backend) -> None:
    async with client_of(opened(backend)) as client:
        for path in ("/v1/backlog", "/metrics/more", "/v1/metrics"):
            assert (await client.get(path)).status_code == 401


async def test_a_ledger_that_is_away_is_told_of_with_success(
    parts: Parts, backend: Backend
) -> None:
    parts.database.write_now(lambda connection: connection.exec_driver_sql("DROP TABLE jobs"))

    answer = await ask(backend, KEY)

    assert answer.status_code == 200
    found = scraped(answer.text)
    assert found["vectorflow_ledger_up"] == 0
    assert {key.partition("{")[0] for key in found} == {"vectorflow_info", "vectorflow_ledger_up"}


async def test_a_worker_tells_the_same_page_to_whoever_reaches_it(backend: Backend) -> None:
    transport = httpx.ASGITransport(make_metrics_app(backend.metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        answer, other = await client.get("/metrics"), await client.get("/v1/jobs")
        written = await client.post("/metrics")

    assert scraped(answer.text)["vectorflow_ledger_up"] == 1
    assert answer.headers["content-type"] == backend.metrics.content_type
    assert (other.status_code, written.status_code) == (404, 405)
