import httpx
import pytest
from sqlalchemy import text

from tests.unit.api.door import client_of, sentence
from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend
from vectorflow.api.routes import health
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
    parts: Parts, backend: Backend, revision: str
) -> None:
    there = parts.database.read_now(schema.current_revision)

    def move(to: object) -> None:
        change = text("UPDATE alembic_version SET version_num = :to")
        parts.database.write_now(lambda connection: connection.execute(change, {"to": to}))

    async with client_of(backend) as client:
        move(revision)
        before, alive = await client.get("/readyz"), await client.get("/livez")
        move(there)
        after = await client.get("/readyz")

    assert "vectorflow db upgrade" in sentence(before, 503)
    assert alive.status_code == 200
    assert after.status_code == 200


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
