"""Jobs below `/v1`: how they stand, what became of their documents, and whether they go on."""

import base64
import json
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest

from tests.exporting import until_ended
from tests.unit.api.door import a_file, client_of, form, problem, sentence
from vectorflow.api.app import make_app
from vectorflow.api.backend import Backend
from vectorflow.api.pages import PAGE
from vectorflow.domain.access import KeyScope
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.errors import KeyRefused
from vectorflow.ledger import claims, keys, transitions
from vectorflow.wiring import Parts, capabilities

JSON = {"content-type": "application/json"}
STEPS = ["pause", "resume", "cancel"]


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


async def upload(client: httpx.AsyncClient, data: bytes = b"Some text.", **fields: object) -> int:
    answer = await client.post("/embed", data=form(**fields), files=a_file(data))
    job: int = answer.json()["JobID"]
    return job


async def step(client: httpx.AsyncClient, job: int, name: str) -> httpx.Response:
    return await client.post(f"/v1/jobs/{job}:{name}")


async def jobs(client: httpx.AsyncClient, query: str = "") -> list[int]:
    answer = await client.get(f"/v1/jobs{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


@pytest.fixture
async def stranger(parts: Parts, backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    issued = await parts.database.write(partial(keys.issue_key, tenant="other", name="theirs"))
    async with client_of(backend, vectorflowkey=issued.key) as opened:
        yield opened


async def test_a_job_is_shown_as_it_stands(parts: Parts, client: httpx.AsyncClient) -> None:
    job = await upload(client)
    before = (await client.get(f"/v1/jobs/{job}")).json()
    await until_ended(parts, job)
    after = (await client.get(f"/v1/jobs/{job}")).json()

    assert (before["id"], before["state"], before["docs_total"]) == (job, "queued", 1)
    assert (before["index"], before["ended_at"], before["paused"]) == ("docs", None, None)
    assert (after["state"], after["docs_done"], after["records_new"]) == ("completed", 1, 1)
    assert after["ended_at"] >= after["created_at"] == before["created_at"]
    assert set(before) == set(after) == set(openapi_of(parts, "Job")["properties"])


def openapi_of(parts: Parts, model: str) -> dict[str, dict[str, object]]:
    from vectorflow.wiring.api import api_backend  # noqa: PLC0415

    schemas = make_app(api_backend(parts, environ={})).openapi()["components"]["schemas"]
    found: dict[str, dict[str, object]] = schemas[model]
    return found


async def test_jobs_are_listed_a_page_at_a_time_the_newest_first(
    client: httpx.AsyncClient,
) -> None:
    made = [await upload(client, DocumentID=str(number)) for number in range(5)]

    first = (await client.get("/v1/jobs?limit=2")).json()
    await upload(client, DocumentID="meanwhile")
    second = (await client.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}")).json()
    third = (await client.get(f"/v1/jobs?limit=2&cursor={second['next_cursor']}")).json()

    pages = [[job["id"] for job in page["jobs"]] for page in (first, second, third)]
    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]
    assert third["next_cursor"] is None


async def test_jobs_are_listed_by_their_state(parts: Parts, client: httpx.AsyncClient) -> None:
    paused, done = await upload(client, DocumentID="1"), await upload(client, DocumentID="2")
    await step(client, paused, "pause")
    await until_ended(parts, done)
    begun, queued = await upload(client, DocumentID="3"), await upload(client, DocumentID="4")
    claim = partial(
        claims.claim,
        owner="embedded:test",
        wanted=claims.Wanted([BatchKind.EXTRACT], capabilities(), 1),
        lease_seconds=30.0,
    )
    assert await parts.database.write(claim)

    states = ["queued", "running", "paused", "completed", "failed"]
    found = {state: await jobs(client, f"?state={state}") for state in states}

    assert found == {
        "queued": [queued], "running": [begun], "paused": [paused], "completed": [done],
        "failed": [],
    }  # fmt: skip
    assert await jobs(client) == [queued, begun, done, paused]


async def test_a_list_that_cannot_be_is_400(client: httpx.AsyncClient) -> None:
    queries = ["limit=0", "limit=1001", "limit=x", "state=ready", *map("cursor={}".format, CURSORS)]
    for query in queries:
        said = problem(await client.get(f"/v1/jobs?{query}"), 400)
        assert query.partition("=")[0] in str(said["detail"])
        assert (said["code"], bool(said["fix"])) == ("invalid_input", True)


CURSORS = [
    "", "x", "%C3%A4", "A" * 5000,
    cursor("jobs:X"), cursor("jobs:-1"), cursor("jobs:1")[:-1], cursor("documents:1"),
    cursor(f"jobs:{1 << 63}"), cursor("jobs:1\n"),
]  # fmt: skip


async def test_a_list_says_nothing_of_other_tenants(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await upload(client)

    assert await jobs(stranger) == []


async def test_a_job_is_paused_and_goes_on_and_to_ask_twice_is_to_ask_once(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    job = await upload(client)

    told = [(await step(client, job, name)).json() for name in ("pause", "pause")]
    again = [(await step(client, job, name)).json() for name in ("resume", "resume")]
    await until_ended(parts, job)

    assert [said["state"] for said in told] == ["paused", "paused"]
    assert told[0]["paused"]["reason"] == "operator"
    assert [said["state"] for said in again] == ["queued", "queued"]
    assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "completed"


async def test_a_job_that_waits_for_a_key_keeps_its_reason_when_it_is_paused(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    job = await upload(client)
    reason = transitions.because_of(KeyRefused("no"), tenant="default", job=job, stage="embed")
    await parts.database.write(partial(transitions.mark_paused, job=job, reason=reason))

    told = (await step(client, job, "pause")).json()

    assert (told["state"], told["paused"]["reason"]) == ("paused", "key_refused")


async def test_a_job_is_cancelled_and_to_ask_twice_is_to_ask_once(
    client: httpx.AsyncClient,
) -> None:
    job = await upload(client)

    told = [(await step(client, job, "cancel")).json() for _ in range(2)]

    assert [said["state"] for said in told] == ["cancelled", "cancelled"]
    assert told[0]["ended_at"] is not None


async def test_what_a_job_is_in_no_state_for_is_409_and_says_so(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    job = await upload(client)
    await until_ended(parts, job)

    for name in [*STEPS, "retry"]:
        said = problem(await step(client, job, name), 409)
        assert f"job {job} is completed" in str(said["detail"])
        assert (said["code"], bool(said["fix"])) == ("conflict", True)


async def test_a_paused_job_is_not_retried_before_it_is_resumed(client: httpx.AsyncClient) -> None:
    job = await upload(client)
    await step(client, job, "pause")

    said = problem(await step(client, job, "retry"), 409)

    assert str(said["fix"]).startswith("resume it first")


ROUTES = [
    ("GET", ""), ("GET", "/documents"), ("POST", ":pause"), ("POST", ":resume"),
    ("POST", ":cancel"), ("POST", ":retry"),
]  # fmt: skip


async def test_an_unknown_job_is_404(client: httpx.AsyncClient) -> None:
    for method, rest in ROUTES:
        for unknown in ["999", "0", "-1", "x", "1.5", str(1 << 63), "9" * 5000]:
            said = problem(await client.request(method, f"/v1/jobs/{unknown}{rest}"), 404)
            assert (said["code"], said["detail"]) == ("not_found", "there is no such job")


async def test_the_job_of_another_tenant_is_unknown_and_stays_as_it_is(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    job = await upload(client)

    for method, rest in ROUTES:
        theirs = await stranger.request(method, f"/v1/jobs/{job}{rest}")
        assert theirs.json() == (await stranger.request(method, f"/v1/jobs/999{rest}")).json()
        assert problem(theirs, 404)["code"] == "not_found"
    assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "queued"


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.EMBED, KeyScope.WORK])
async def test_looking_needs_read_and_steering_needs_embed(
    parts: Parts, backend: Backend, scope: KeyScope
) -> None:
    issue = partial(keys.issue_key, tenant="default", name="some", scopes=[scope])
    issued = await parts.database.write(issue)

    async with client_of(backend, vectorflowkey=issued.key) as client:
        for method, rest in ROUTES:
            answer = await client.request(method, f"/v1/jobs/999{rest}")
            needed = KeyScope.READ if method == "GET" else KeyScope.EMBED
            if scope is needed:
                problem(answer, 404)
            else:
                assert f"'{needed}'" in sentence(answer, 403)
        listed = await client.get("/v1/jobs")
        assert listed.status_code == (200 if scope is KeyScope.READ else 403)


async def test_without_a_good_key_the_refusal_is_a_problem_too(backend: Backend) -> None:
    async with client_of(backend, vectorflowkey="wrong") as client:
        for path in ("/v1/jobs", "/v1/jobs/1:pause", "/v1/nowhere", "/v1"):
            answer = await client.post(path)
            assert problem(answer, 401)["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_body_that_asks_for_what_is_not_known_is_400_and_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    job = await upload(client)

    for name in [*STEPS, "retry"]:
        for body in ["x", "{", "[]", "null", '"all"', '{"Cause": "x"}', '{"job": 1}', "[" * 30_000]:
            answer = await client.post(f"/v1/jobs/{job}:{name}", content=body, headers=JSON)
            assert "the body" in str(problem(answer, 400)["detail"])
    assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "queued"


async def test_a_retry_of_what_cannot_be_is_400(client: httpx.AsyncClient) -> None:
    job = await upload(client)
    canaries = [0, -1, 1 << 40, "1", True, 1.5]
    bodies = [{"canary": canary} for canary in canaries]
    bodies += [{"cause": cause} for cause in ("", "x" * 65, 1)]

    for body in bodies:
        answer = await client.post(f"/v1/jobs/{job}:retry", json=body)
        assert "the body" in sentence(answer, 400)


async def test_bodies_have_bounds_and_a_kind(client: httpx.AsyncClient) -> None:
    job = await upload(client)
    path, large = f"/v1/jobs/{job}:retry", json.dumps({"cause": "x" * 100_000})

    assert problem(await client.post(path, content=large, headers=JSON), 413)["fix"]
    said = problem(await client.post(path, content=b"{}"), 415)
    assert "application/json" in str(said["fix"])


async def test_the_documents_of_a_job_come_a_page_at_a_time_with_what_became_of_them(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    job = await upload(client, DocumentID="rules")
    before = (await client.get(f"/v1/jobs/{job}/documents")).json()["documents"]
    await until_ended(parts, job)
    after = (await client.get(f"/v1/jobs/{job}/documents?status=live&limit=1")).json()

    [waiting], [live] = before, after["documents"]
    assert (waiting["external_id"], waiting["status"]) == ("rules", "indexing")
    assert (waiting["served_version"], waiting["attempted_version"]) == (None, 1)
    assert (live["status"], live["served_version"], live["failure"]) == ("live", 1, None)
    assert after["next_cursor"] is None
    failed = await client.get(f"/v1/jobs/{job}/documents?status=failed")
    assert failed.json() == {"documents": [], "next_cursor": None}


async def test_documents_that_cannot_be_listed_are_400(client: httpx.AsyncClient) -> None:
    job = await upload(client)

    for query in ["status=lost", "status=retried", "limit=0", f"cursor={cursor('jobs:1')}"]:
        said = problem(await client.get(f"/v1/jobs/{job}/documents?{query}"), 400)
        assert query.partition("=")[0] in str(said["detail"])


def test_every_state_and_status_that_there_is_has_a_name(parts: Parts) -> None:
    states = openapi_of(parts, "Job")["properties"]["state"]
    assert isinstance(states, dict)

    assert set(states["enum"]) == {"queued", *JobState}


def test_the_routes_are_described_with_their_schemas(backend: Backend) -> None:
    paths = make_app(backend).openapi()["paths"]

    listed = paths["/v1/jobs"]["get"]
    assert {one["name"] for one in listed["parameters"]} == {"state", "limit", "cursor"}
    retry = paths["/v1/jobs/{job_id}:retry"]["post"]
    body = retry["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"cause", "canary", "webhook_url", "validation_url"}
    assert retry["responses"]["202"]["content"]["application/json"]["schema"]
    for path in ("/v1/jobs/{job_id}:pause", "/v1/failures", "/v1/failures:discard"):
        [operation] = paths[path].values()
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert listed["parameters"][1]["schema"]["default"] == PAGE
