import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import Connection, text

from tests.unit.api.door import client_of, sentence
from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend
from vectorflow.api.routes import health
from vectorflow.errors import Unavailable
from vectorflow.ledger import schema
from vectorflow.wiring import Parts


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/readyz/"])
async def test_probes_need_no_key_and_take_every_usual_method(
    backend: Backend, method: str, path: str
) -> None:
    async with client_of(backend) as client:
        answer = await client.request(method, path)

    assert answer.status_code == 200
    assert method == "HEAD" or answer.json() == {"status": "ok"}


@pytest.mark.parametrize("revision", ["0000", "9999"])
async def test_a_server_is_not_ready_while_its_ledger_has_another_schema(
    parts: Parts, backend: Backend, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REMEMBERED_SECONDS", 0.0)
    there = parts.database.read_now(schema.current_revision)

    def move(to: object) -> None:
        def change(connection: Connection) -> None:
            for column in ("alembic_version SET version_num", "identity SET oldest"):
                connection.execute(text(f"UPDATE {column} = :to"), {"to": to})

        parts.database.write_now(change)

    async with client_of(backend) as client:
        move(revision)
        before, alive = await client.get("/readyz"), await client.get("/livez")
        move(there)
        after = await client.get("/readyz")

    says = {"0000": "vectorflow db upgrade", "9999": "newer VectorFlow"}
    assert says[revision] in sentence(before, 503)
    assert alive.status_code == 200
    assert after.status_code == 200


async def test_a_server_is_not_ready_while_its_disk_is_full(backend: Backend) -> None:
    limits = replace(backend.limits, free_floor_bytes=1 << 60)
    async with client_of(replace(backend, limits=limits)) as client:
        answer = await client.get("/readyz")

    assert "no room" in sentence(answer, 503)
    assert answer.headers["retry-after"]


async def test_a_server_is_not_ready_while_its_ledger_takes_no_writes(backend: Backend) -> None:
    async with client_of(replace(backend, database=ReadOnly(backend))) as client:  # type: ignore[arg-type]
        answers = [await client.get("/readyz"), await client.get("/readyz")]

    assert all("read-only" in sentence(answer, 503) for answer in answers)


async def test_many_who_ask_at_once_make_one_write(backend: Backend) -> None:
    counting = Counting(backend)
    async with client_of(replace(backend, database=counting)) as client:  # type: ignore[arg-type]
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert counting.writes == 1


class ReadOnly:
    """A ledger that is read only."""

    def __init__(self, backend: Backend) -> None:
        self.read = backend.database.read

    async def write(self, _transaction: object) -> None:
        raise Unavailable("the database is read-only")


class Counting:
    """A ledger that counts what is written."""

    def __init__(self, backend: Backend) -> None:
        self._write = backend.database.write
        self.writes = 0

    async def write(self, transaction: Callable[[Connection], None]) -> None:
        self.writes += 1
        await self._write(transaction)


async def test_readiness_ends_before_the_server_does(backend: Backend) -> None:
    app = make_app(backend)
    transport = httpx.ASGITransport(app)

    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        before = await client.get("/readyz")
        seconds = health.leave(app)
        after, alive = await client.get("/readyz"), await client.get("/livez")

    assert before.status_code == 200
    assert seconds == health.TELLING_SECONDS
    assert "about to stop" in sentence(after, 503)
    assert after.headers["retry-after"]
    assert alive.status_code == 200


async def test_a_server_that_nobody_asks_stops_at_once(backend: Backend) -> None:
    app = make_app(backend)

    assert health.leave(app) == 0


async def test_who_asked_long_ago_is_not_waited_for(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(backend)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        await client.get("/readyz")

    monkeypatch.setattr(health, "ASKED_WITHIN", 0.0)

    assert health.leave(app) == 0
