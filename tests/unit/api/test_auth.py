from dataclasses import replace
from functools import partial

import httpx
import pytest

from tests.unit.api.door import KEY, a_file, client_of, form, sentence
from vectorflow.api.backend import Backend
from vectorflow.api.keys import key_check
from vectorflow.errors import Unavailable
from vectorflow.ledger import keys
from vectorflow.wiring import Parts

ROUTES = [
    ("POST", "/embed"),
    ("GET", "/jobs/1/status"),
    ("POST", "/jobs/status"),
    ("GET", "/no/such/route"),
    ("DELETE", "/embed"),
    ("GET", "//embed/"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("headers", [{}, {"vectorflowkey": "wrong"}, {"authorization": "Bearer"}])
async def test_without_a_good_key_every_route_answers_401(
    backend: Backend, method: str, path: str, headers: dict[str, str]
) -> None:
    async with client_of(backend, **headers) as client:
        answer = await client.request(method, path)

    assert "VectorFlowKey" in sentence(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_key_comes_before_the_body_is_read(backend: Backend) -> None:
    read = 0

    async def body():  # noqa: ANN202
        nonlocal read
        read += 1
        yield b"nonsense"

    async with client_of(backend) as client:
        answer = await client.post("/embed", content=body())

    sentence(answer, 401)
    assert read == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"vectorflowkey": KEY},
        {"authorization": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"vectorflowkey": "older-key"},
        {"vectorflowkey": KEY, "authorization": "Basic of-a-proxy"},
    ],
)
async def test_a_key_is_taken_in_every_form(backend: Backend, headers: dict[str, str]) -> None:
    async with client_of(backend, **headers) as client:
        answer = await client.get("/jobs/1/status")

    sentence(answer, 404)


async def test_issued_keys_work_until_they_are_revoked_and_see_their_tenant_only(
    parts: Parts, backend: Backend, client: httpx.AsyncClient
) -> None:
    ours = (await client.post("/embed", data=form(), files=a_file())).json()["JobID"]
    issue = partial(keys.issue_key, tenant="other", name="theirs")
    theirs = await parts.database.write(issue)

    async with client_of(backend, authorization=f"Bearer {theirs}") as other:
        unseen = await other.get(f"/jobs/{ours}/status")
        accepted = await other.post("/embed", data=form(), files=a_file(b"Their text."))
        seen = await other.get(f"/jobs/{accepted.json()['JobID']}/status")

    sentence(unseen, 404)
    assert seen.json() == {"JobStatus": "NOT_STARTED"}


async def test_a_server_without_any_key_lets_nobody_in(parts: Parts, backend: Backend) -> None:
    keyless = replace(backend, tenant_of=key_check(parts.database, [], "default"))

    for key in ("", " ", "None", "null", "test123"):
        async with client_of(keyless, vectorflowkey=key, authorization=key) as client:
            sentence(await client.get("/jobs/1/status"), 401)


async def test_a_ledger_that_does_not_answer_is_503_and_no_401(backend: Backend) -> None:
    async def tenant_of(_key: str) -> str | None:
        raise Unavailable("the database does not answer", retry_after=2.5)

    async with client_of(replace(backend, tenant_of=tenant_of), vectorflowkey="any") as client:
        answer = await client.get("/jobs/1/status")

    assert "database" in sentence(answer, 503)
    assert answer.headers["retry-after"] == "3"


async def test_probes_need_no_key(backend: Backend) -> None:
    async with client_of(backend) as client:
        alive, ready = await client.get("/livez"), await client.get("/readyz/")

    assert (alive.status_code, ready.status_code) == (200, 200)
    assert alive.json() == ready.json() == {"status": "ok"}


async def test_a_server_whose_ledger_is_gone_is_alive_but_not_ready(backend: Backend) -> None:
    class Gone:
        async def read(self, _transaction: object) -> object:
            raise Unavailable("the database does not answer")

    async with client_of(replace(backend, database=Gone())) as client:  # type: ignore[arg-type]
        alive, ready = await client.get("/livez"), await client.get("/readyz")

    assert alive.status_code == 200
    assert "ledger" in sentence(ready, 503)
