from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

import httpx
import pytest
from sqlalchemy import Connection

from tests.unit.api.door import KEY, STORE, a_file, client_of, form, sentence
from vectorflow.api.backend import Backend
from vectorflow.api.keys import REMEMBERED_KEYS, REMEMBERED_SECONDS, key_check
from vectorflow.domain.access import Access, KeyScope
from vectorflow.errors import Unavailable
from vectorflow.ledger import keys
from vectorflow.ledger.database import Database
from vectorflow.wiring import Parts

T = TypeVar("T")

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


async def test_issued_keys_see_their_tenant_only(
    parts: Parts, backend: Backend, client: httpx.AsyncClient
) -> None:
    ours = (await client.post("/embed", data=form(), files=a_file())).json()["JobID"]
    issue = partial(keys.issue_key, tenant="other", name="theirs")
    theirs = (await parts.database.write(issue)).key

    async with client_of(backend, authorization=f"Bearer {theirs}") as other:
        unseen = await other.get(f"/jobs/{ours}/status")
        refused = await other.post("/embed", data=form(), files=a_file(b"Their text."))
        own_index = form(VectorDBMetadata={**STORE, "index_name": "theirs"})
        accepted = await other.post("/embed", data=own_index, files=a_file(b"Their text."))
        seen = await other.get(f"/jobs/{accepted.json()['JobID']}/status")

    sentence(unseen, 404)
    assert "belongs to another tenant; use another index name" in sentence(refused, 409)
    assert seen.json() == {"JobStatus": "NOT_STARTED"}


MAY_EMBED, MAY_READ = {"POST /embed"}, {"GET /jobs/1/status", "POST /jobs/status"}


@pytest.mark.parametrize(
    ("scopes", "able"),
    [
        (None, MAY_EMBED | MAY_READ),
        (["admin"], MAY_EMBED | MAY_READ),
        (["embed"], MAY_EMBED),
        (["read"], MAY_READ),
        (["embed", "read"], MAY_EMBED | MAY_READ),
        (["work"], set()),
    ],
)
async def test_a_key_may_do_what_its_scopes_say_and_is_refused_the_rest(
    parts: Parts, backend: Backend, scopes: list[str] | None, able: set[str]
) -> None:
    given = None if scopes is None else [KeyScope(scope) for scope in scopes]
    issue = partial(keys.issue_key, tenant="default", name="scoped", scopes=given)
    key = (await parts.database.write(issue)).key

    async with client_of(backend, vectorflowkey=key) as client:
        for route in MAY_EMBED | MAY_READ:
            answer = await client.request(*route.split())
            if route not in able:
                assert "scope" in sentence(answer, 403)
                assert key not in answer.text
            else:
                assert answer.status_code in {400, 404, 415}


async def test_unknown_expired_and_revoked_keys_are_told_the_same(
    parts: Parts, backend: Backend
) -> None:
    new: list[str] = []
    for name in ("expired", "revoked"):
        issue = partial(keys.issue_key, tenant="default", name=name, expires_in=3000.0)
        new.append((await parts.database.write(issue)).key)
    await parts.database.write(partial(keys.revoke_keys, tenant="default", which="revoked"))
    await parts.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE api_keys SET expires_at = 1")
    )
    answers = []
    for key in [*new, "unknown", ""]:
        async with client_of(backend, vectorflowkey=key) as client:
            answers.append(await client.post("/embed", data=form(), files=a_file()))

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1


async def test_a_good_key_is_looked_up_once_in_a_few_seconds(parts: Parts) -> None:
    issue = partial(keys.issue_key, tenant="default", name="busy")
    key = (await parts.database.write(issue)).key
    counted, time = _Counted(parts.database), [100.0]
    access_of = key_check(counted, [], "default", clock=lambda: time[0])

    assert [await access_of(key) for _ in range(50)] == [Access(tenant="default")] * 50
    assert counted.reads == 1

    await parts.database.write(partial(keys.revoke_keys, tenant="default", which="busy"))
    assert await access_of(key) is not None
    time[0] += REMEMBERED_SECONDS
    assert await access_of(key) is None
    assert await access_of(key) is None
    assert counted.reads == 3  # a bad key is remembered by nobody


async def test_only_so_many_keys_are_remembered(parts: Parts) -> None:
    def issue_all(connection: Connection) -> list[str]:
        names = [f"key-{number}" for number in range(REMEMBERED_KEYS + 1)]
        return [keys.issue_key(connection, tenant="default", name=name).key for name in names]

    issued = await parts.database.write(issue_all)
    counted = _Counted(parts.database)
    access_of = key_check(counted, [], "default", clock=lambda: 100.0)
    for key in issued:
        assert await access_of(key)
    counted.reads = 0

    for key in reversed(issued):
        assert await access_of(key)

    assert counted.reads == 1  # only the oldest had been forgotten, and was asked for last


class _Counted(Database):
    """A ledger that counts what is read."""

    def __init__(self, database: Database) -> None:
        self._counted = database
        self.reads = 0

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        self.reads += 1
        return await self._counted.read(transaction)


async def test_a_server_without_any_key_lets_nobody_in(parts: Parts, backend: Backend) -> None:
    keyless = replace(backend, access_of=key_check(parts.database, [], "default"))

    for key in ("", " ", "None", "null", "test123"):
        async with client_of(keyless, vectorflowkey=key, authorization=key) as client:
            sentence(await client.get("/jobs/1/status"), 401)


async def test_a_ledger_that_does_not_answer_is_503_and_no_401(backend: Backend) -> None:
    async def tenant_of(_key: str) -> Access | None:
        raise Unavailable("the database does not answer", retry_after=2.5)

    async with client_of(replace(backend, access_of=tenant_of), vectorflowkey="any") as client:
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
        async def write(self, _transaction: object) -> object:
            raise Unavailable("the database does not answer")

    async with client_of(replace(backend, database=Gone())) as client:  # type: ignore[arg-type]
        alive, ready = await client.get("/livez"), await client.get("/readyz")

    assert alive.status_code == 200
    assert "does not answer" in sentence(ready, 503)
