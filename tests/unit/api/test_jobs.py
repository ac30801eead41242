import asyncio
from functools import partial

import httpx
import pytest

from tests.unit.api.door import a_file, form, sentence
from vectorflow.api.routes.jobs import status_of
from vectorflow.domain.jobs import BatchKind, JobState
from vectorflow.ledger import claims
from vectorflow.ledger.reads import JobView
from vectorflow.wiring import Parts, capabilities


async def job_of(client: httpx.AsyncClient, **fields: object) -> int:
    answer = await client.post("/embed", data=form(**fields), files=a_file())
    job: int = answer.json()["JobID"]
    return job


def view(state: JobState, *, started: bool) -> JobView:
    values = dict.fromkeys(JobView.__dataclass_fields__, 0)
    return JobView(**(values | {"state": state, "started": started}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "started", "status"),
    [
        (JobState.RUNNING, False, "NOT_STARTED"),
        (JobState.RUNNING, True, "IN_PROGRESS"),
        (JobState.PAUSED, True, "IN_PROGRESS"),
        (JobState.COMPLETED, True, "COMPLETED"),
        (JobState.COMPLETED, False, "COMPLETED"),
        (JobState.PARTIAL, True, "PARTIALLY_COMPLETED"),
        (JobState.FAILED, True, "FAILED"),
        (JobState.CANCELLED, False, "CANCELLED"),
    ],
)
def test_every_state_has_a_status(state: JobState, started: bool, status: str) -> None:
    assert status_of(view(state, started=started)) == status


async def test_a_job_goes_from_not_started_over_in_progress_to_completed(
    parts: Parts, client: httpx.AsyncClient
) -> None:
    job = await job_of(client)
    before = await client.get(f"/jobs/{job}/status")
    claim = partial(
        claims.claim,
        owner="embedded:test",
        wanted=claims.Wanted([BatchKind.EXTRACT], capabilities(), 1),
        lease_seconds=30.0,
    )
    assert await parts.database.write(claim)
    during = await client.get(f"/jobs/{job}/status")
    stop = asyncio.Event()
    worker = asyncio.create_task(parts.run_worker(stop))
    while (await client.get(f"/jobs/{job}/status")).json()["JobStatus"] == "IN_PROGRESS":
        pass
    stop.set()
    await worker
    after = await client.get(f"/jobs/{job}/status")

    assert before.json() == {"JobStatus": "NOT_STARTED"}
    assert during.json() == {"JobStatus": "IN_PROGRESS"}
    assert after.json() == {"JobStatus": "COMPLETED"}


async def test_statuses_of_several_jobs_leave_out_what_is_unknown(
    client: httpx.AsyncClient,
) -> None:
    first, second = await job_of(client), await job_of(client, DocumentID="2")

    answer = await client.post(
        "/jobs/status", json={"JobIDs": [second, 999, first, second, -1, 1 << 70]}
    )

    assert answer.status_code == 200
    assert answer.json() == {
        "Jobs": [
            {"JobStatus": "NOT_STARTED", "JobID": second},
            {"JobStatus": "NOT_STARTED", "JobID": first},
        ]
    }


@pytest.mark.parametrize("ids", [[999], [0], [-5], [1 << 70]])
async def test_statuses_of_unknown_jobs_alone_are_404(
    client: httpx.AsyncClient, ids: list[int]
) -> None:
    sentence(await client.post("/jobs/status", json={"JobIDs": ids}), 404)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "not json",
        "null",
        "[]",
        "[1]",
        "{}",
        '{"JobIDs": null}',
        '{"JobIDs": 1}',
        '{"JobIDs": "1"}',
        '{"JobIDs": []}',
        '{"JobIDs": ["x"]}',
        '{"JobIDs": ["1"]}',
        '{"JobIDs": [1.5]}',
        '{"JobIDs": [true]}',
        '{"JobIDs": [null]}',
        '{"JobIDs": [[1]]}',
        '{"JobIDs": [NaN]}',
        '{"jobids": [1]}',
        "[" * 30_000,
        '{"JobIDs": [' + ",".join(["1"] * 1001) + "]}",
    ],
)
async def test_a_malformed_question_is_400(client: httpx.AsyncClient, body: str) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}

    answer = await client.post("/jobs/status", content=body, headers=headers)

    assert "the body" in sentence(answer, 400)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_question_that_is_not_json_is_415(client: httpx.AsyncClient, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}

    answer = await client.post("/jobs/status", content=b'{"JobIDs": [1]}', headers=headers)

    assert "application/json" in sentence(answer, 415)


async def test_a_question_beyond_all_bounds_is_413(client: httpx.AsyncClient) -> None:
    body = b'{"JobIDs": [' + b"1," * 100_000
    headers = {"content-type": "application/json"}

    sentence(await client.post("/jobs/status", content=body, headers=headers), 413)
