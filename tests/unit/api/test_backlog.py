from dataclasses import replace

import httpx
import pytest

from tests.unit.api.door import KEY, client_of, form, sentence
from vectorflow.api.backend import Backend
from vectorflow.domain.access import KeyScope
from vectorflow.ledger import keys
from vectorflow.wiring import Parts


async def ask(backend: Backend, key: str) -> httpx.Response:
    async with client_of(backend, VectorFlowKey=key) as client:
        return await client.get("/v1/backlog")


def issued(parts: Parts, scope: KeyScope, tenant: str) -> str:
    def issue(connection: object) -> keys.NewKey:
        return keys.issue_key(connection, tenant=tenant, name="some", scopes=[scope])  # type: ignore[arg-type]

    return parts.database.write_now(issue).key


async def test_the_backlog_tells_what_waits_by_lane_and_kind(backend: Backend) -> None:
    impatient = replace(backend, limits=replace(backend.limits, answer_seconds=0.01))
    async with client_of(impatient, VectorFlowKey=KEY) as client:
        for route, part in (("/embed", "SourceData"), ("/jobs", "file")):
            file = (f"{part}.txt", b"Some text.")
            answer = await client.post(route, data=form(), files={part: file})
            assert answer.status_code == 200

        said = (await client.get("/v1/backlog")).json()

    assert said["demand"] == 2
    waiting = {
        lane: {kind: one["ready"] for kind, one in kinds.items()}
        for lane, kinds in said["lanes"].items()
    }
    one = {"extract": 1, "embed": 0, "retire": 0}
    assert waiting == {"interactive": one, "bulk": one}
    assert said["total"]["ready"] == 2
    assert said["paused_jobs"] == {}
    assert said["counted_to"] >= 1000


@pytest.mark.parametrize("scope", KeyScope)
async def test_the_backlog_is_for_keys_that_may_read(
    parts: Parts, backend: Backend, scope: KeyScope
) -> None:
    answer = await ask(backend, issued(parts, scope, parts.tenant))

    if scope in {KeyScope.READ, KeyScope.ADMIN}:
        assert answer.status_code == 200
    else:
        assert "lacks the scope 'read'" in sentence(answer, 403)


async def test_the_backlog_is_not_for_other_tenants(parts: Parts, backend: Backend) -> None:
    answer = await ask(backend, issued(parts, KeyScope.ADMIN, "another"))

    assert "that of all tenants" in sentence(answer, 403)
