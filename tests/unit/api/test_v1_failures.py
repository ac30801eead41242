"""Failures below `/v1`: by cause, tried again, or given up."""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest

from tests.exporting import until_ended
from tests.unit.api.door import a_file, client_of, form, problem, sentence
from vectorflow.api.backend import Backend
from vectorflow.domain.access import KeyScope
from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import BinaryContent, BrokenFile, VectorFlowError
from vectorflow.ledger import keys
from vectorflow.ledger.work import LedgerWork
from vectorflow.wiring import Parts, capabilities

Said = dict[str, object]

ROUTES = [("GET", "/v1/failures"), ("POST", "/v1/failures:retry"), ("POST", "/v1/failures:discard")]


class Maker:
    """Makes jobs whose one document fails."""

    def __init__(self, parts: Parts, client: httpx.AsyncClient) -> None:
        self._client = client
        self._work = LedgerWork(
            parts.database, parts.blobs, owner="embedded:test", lease_seconds=30, store_seconds=0
        )

    async def failed(self, name: str, error: VectorFlowError) -> int:
        answer = await self._client.post("/embed", data=form(DocumentID=name), files=a_file())
        await self.fail(error)
        job: int = answer.json()["JobID"]
        return job

    async def fail(self, error: VectorFlowError) -> None:
        """Let the next batch fail."""
        [lease] = await self._work.claim([BatchKind.EXTRACT], capabilities(), 1)
        await self._work.release(lease, error)


@pytest.fixture
def maker(parts: Parts, client: httpx.AsyncClient) -> Maker:
    return Maker(parts, client)


@pytest.fixture
async def stranger(parts: Parts, backend: Backend) -> AsyncIterator[httpx.AsyncClient]:
    issued = await parts.database.write(partial(keys.issue_key, tenant="other", name="theirs"))
    async with client_of(backend, vectorflowkey=issued.key) as opened:
        yield opened


async def causes(client: httpx.AsyncClient, query: str = "") -> list[Said]:
    answer = await client.get(f"/v1/failures{query}")
    assert answer.status_code == 200, answer.text
    found: list[Said] = answer.json()["causes"]
    return found


async def post(client: httpx.AsyncClient, path: str, status: int, **body: object) -> Said:
    answer = await client.post(path, json=body)
    assert answer.status_code == status, answer.text
    said: Said = answer.json()
    return said


async def test_failures_are_shown_by_cause_with_the_fix_and_one_of_them(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    assert await causes(client) == []
    await maker.failed("a", BinaryContent("it is none"))
    last = await maker.failed("b", BinaryContent("it is none either"))
    broken = await maker.failed("c", BrokenFile("it is cut short"))

    [many, one] = await causes(client)
    of_one = await causes(client, f"?job={broken}")

    assert {name: many[name] for name in ("code", "stage", "fix", "documents", "jobs")} == {
        "code": "binary_content",
        "stage": "extract",
        "fix": BinaryContent.fix,
        "documents": 2,
        "jobs": 2,
    }
    newest = {"job": last, "external_id": "b", "uri": "a.txt", "status": "failed"}
    assert many["newest"] == newest | {
        "attempted_version": 1,
        "served_version": None,
        "failure": {
            "code": "binary_content",
            "stage": "extract",
            "retryable": False,
            "message": "it is none either",
            "fix": BinaryContent.fix,
            "attempts": 1,
            "at": {"chunk": None},
        },
    }
    assert (one["code"], of_one) == ("broken_file", [one])


async def test_a_canary_is_tried_first_and_then_the_rest(
    parts: Parts, client: httpx.AsyncClient, maker: Maker
) -> None:
    first = await maker.failed("a", BinaryContent("no"))
    second = await maker.failed("b", BinaryContent("no"))
    other = await maker.failed("c", BrokenFile("no"))
    asked = {"cause": "binary_content"}

    canary = await post(client, "/v1/failures:retry", 202, **asked, canary=1)
    await until_ended(parts, first)
    [left, _] = sorted(await causes(client), key=lambda cause: str(cause["code"]))
    rest = await post(client, "/v1/failures:retry", 202, **asked)
    await until_ended(parts, second)

    assert canary == {"documents": 1, "jobs": [first]}
    assert left["documents"] == 1
    assert rest == {"documents": 1, "jobs": [second]}
    assert [cause["code"] for cause in await causes(client)] == ["broken_file"]
    said = problem(await client.post("/v1/failures:retry", json=asked), 409)
    assert "no failure with the code binary_content" in str(said["detail"])
    assert (await client.get(f"/v1/jobs/{other}")).json()["state"] == "failed"


ONCE = {"Idempotency-Key": "once"}


async def test_the_same_retry_sent_again_is_told_the_same_and_does_no_more(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    first = await maker.failed("a", BinaryContent("no"))
    await maker.failed("b", BinaryContent("no"))
    asked = {"json": {"canary": 1}, "headers": ONCE}

    told = [await client.post("/v1/failures:retry", **asked) for _ in range(2)]  # type: ignore[arg-type]
    other = await client.post("/v1/failures:retry", json={"canary": 2}, headers=ONCE)

    assert {answer.status_code for answer in told} == {202}
    assert [answer.json() for answer in told] == [{"documents": 1, "jobs": [first]}] * 2
    assert [cause["documents"] for cause in await causes(client)] == [1]
    assert "another request" in str(problem(other, 409)["detail"])


async def test_the_same_retry_of_a_job_does_not_try_what_failed_again(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    job = await maker.failed("a", BinaryContent("no"))
    path = f"/v1/jobs/{job}:retry"

    before = await client.post(path, headers=ONCE)
    await maker.fail(BinaryContent("still no"))
    after = await client.post(path, headers=ONCE)

    assert (before.status_code, before.json()) == (202, {"documents": 1, "jobs": [job]})
    assert (after.status_code, after.json()) == (202, before.json())
    assert after.headers["location"] == f"/v1/jobs/{job}"
    assert (await client.get(f"/v1/jobs/{job}")).json()["state"] == "failed"
    assert (await client.post(path, headers={"Idempotency-Key": "twice"})).status_code == 202


async def test_a_retry_that_could_do_nothing_may_be_sent_again_under_its_key(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    problem(await client.post("/v1/failures:retry", headers=ONCE), 409)
    job = await maker.failed("a", BinaryContent("no"))

    answer = await client.post("/v1/failures:retry", headers=ONCE)

    assert (answer.status_code, answer.json()) == (202, {"documents": 1, "jobs": [job]})
    long = {"Idempotency-Key": "k" * 201}
    problem(await client.post("/v1/failures:retry", headers=long), 400)


async def test_the_failures_of_one_job_are_tried_again_in_it(
    parts: Parts, client: httpx.AsyncClient, maker: Maker
) -> None:
    job = await maker.failed("a", BinaryContent("no"))
    await maker.failed("b", BinaryContent("no"))

    answer = await client.post(f"/v1/jobs/{job}:retry")
    running = (await client.get(f"/v1/jobs/{job}")).json()
    await until_ended(parts, job)
    listed = (await client.get(f"/v1/jobs/{job}/documents")).json()["documents"]

    assert (answer.status_code, answer.json()) == (202, {"documents": 1, "jobs": [job]})
    assert answer.headers["location"] == f"/v1/jobs/{job}"
    assert (running["state"], running["docs_failed"]) == ("running", 0)
    assert [(one["status"], one["attempted_version"]) for one in listed] == [("live", 2)]
    [left] = await causes(client)
    assert left["documents"] == 1


async def test_failures_are_given_up_only_where_it_is_said_which(
    client: httpx.AsyncClient, maker: Maker
) -> None:
    job = await maker.failed("a", BinaryContent("no"))
    await maker.failed("b", BinaryContent("no"))
    await maker.failed("c", BrokenFile("no"))
    path = "/v1/failures:discard"

    for body in ({}, {"all": False}, {"all": True, "canary": 1}, {"job": "1"}, {"job": True}):
        sentence(await client.post(path, json=body), 400)
    said = problem(await client.post(path), 400)
    assert '"all": true' in str(said["fix"])
    assert await post(client, path, 200, job=job, cause="broken_file") == {"discarded": 0}
    assert await post(client, path, 200, job=job) == {"discarded": 1}
    assert await post(client, path, 200, cause="broken_file") == {"discarded": 1}
    assert [cause["documents"] for cause in await causes(client)] == [1]
    assert await post(client, path, 200, all=True) == {"discarded": 1}

    assert await causes(client) == []
    listed = (await client.get(f"/v1/jobs/{job}/documents?status=discarded")).json()
    assert [one["failure"]["code"] for one in listed["documents"]] == ["binary_content"]
    assert (await client.get(f"/v1/jobs/{job}")).json()["docs_failed"] == 1


async def test_failures_of_other_tenants_are_out_of_reach(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, maker: Maker
) -> None:
    job = await maker.failed("a", BinaryContent("no"))

    assert await causes(stranger) == []
    problem(await stranger.get(f"/v1/failures?job={job}"), 404)
    problem(await stranger.post("/v1/failures:retry"), 409)
    for step in ("retry", "discard"):
        problem(await stranger.post(f"/v1/failures:{step}", json={"job": job}), 404)
    assert await post(stranger, "/v1/failures:discard", 200, all=True) == {"discarded": 0}

    assert [cause["documents"] for cause in await causes(client)] == [1]


async def test_an_unknown_job_is_404_and_what_is_no_number_of_one_is_400(
    client: httpx.AsyncClient,
) -> None:
    problem(await client.get("/v1/failures?job=999"), 404)
    for step in ("retry", "discard"):
        problem(await client.post(f"/v1/failures:{step}", json={"job": 999}), 404)
    for wrong in ("x", "0", "-1", str(1 << 63), "9" * 5000):
        said = problem(await client.get(f"/v1/failures?job={wrong}"), 400)
        assert "job" in str(said["detail"])


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.EMBED, KeyScope.WORK])
async def test_looking_needs_read_and_changing_needs_embed(
    parts: Parts, backend: Backend, scope: KeyScope
) -> None:
    issue = partial(keys.issue_key, tenant="default", name="some", scopes=[scope])
    issued = await parts.database.write(issue)

    async with client_of(backend, vectorflowkey=issued.key) as client:
        for method, path in ROUTES:
            answer = await client.request(method, path)
            needed = KeyScope.READ if method == "GET" else KeyScope.EMBED
            if scope is needed:
                assert answer.status_code in {200, 400, 409}
            else:
                assert f"'{needed}'" in sentence(answer, 403)
