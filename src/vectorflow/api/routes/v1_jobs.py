"""Jobs: how they stand, what became of their documents, and whether they go on."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.api.bodies import read_options
from vectorflow.api.jobs import find_job
from vectorflow.api.openapi import PROBLEMS, optional_body
from vectorflow.api.orders import checked_url, header_key, retry_request
from vectorflow.api.pages import MAX_PAGE, PAGE, cut, row_of
from vectorflow.api.v1_schemas import (
    QUEUED,
    Document,
    DocumentPage,
    DocumentStatus,
    Job,
    JobPage,
    Nothing,
    Retrying,
    RetryJob,
    StateName,
)
from vectorflow.domain.access import KeyScope
from vectorflow.domain.credentials import Credentials
from vectorflow.domain.jobs import JobState, VersionState
from vectorflow.ledger import outcome_reads, reads
from vectorflow.service import steering
from vectorflow.service.failures import Failures, retry_failures
from vectorflow.service.new_keys import sealed_anew

JOBS, DOCUMENTS = "jobs", "documents"
"""Names of lists in cursors."""

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def v1_job_routes(backend: Backend) -> APIRouter:
    """Make the routes of jobs."""
    router = APIRouter(responses=PROBLEMS)
    router.include_router(_reading(backend))
    router.include_router(_steering(backend))
    return router


def _reading(backend: Backend) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/jobs")
    async def jobs(
        request: Request,
        state: StateName | None = None,
        limit: Limit = PAGE,
        cursor: str | None = None,
    ) -> JobPage:
        """List jobs, the newest first."""
        require(request, KeyScope.READ)
        find = partial(
            reads.job_page,
            tenant=request.state.tenant,
            limit=limit + 1,
            before=row_of(cursor, JOBS),
            state=JobState.RUNNING if state == QUEUED else state and JobState(state),
            started={QUEUED: False, JobState.RUNNING: True}.get(state or ""),
        )
        page, following = cut(await backend.database.read(find), limit, JOBS)
        return JobPage(jobs=[Job.of(view) for view in page], next_cursor=following)

    @router.get("/v1/jobs/{job_id}")
    async def job(request: Request, job_id: int) -> Job:
        """Show how a job stands."""
        require(request, KeyScope.READ)
        return Job.of(await find_job(backend, request, job_id))

    @router.get("/v1/jobs/{job_id}/documents")
    async def documents(
        request: Request,
        job_id: int,
        status: DocumentStatus | None = None,
        limit: Limit = PAGE,
        cursor: str | None = None,
    ) -> DocumentPage:
        """List what became of the documents of a job, in the order in which they came."""
        require(request, KeyScope.READ)
        view = await find_job(backend, request, job_id)
        find = partial(
            outcome_reads.job_documents,
            job=view.id,
            limit=limit + 1,
            after=row_of(cursor, DOCUMENTS) or 0,
            state=status and VersionState(status),
        )
        page, following = cut(await backend.database.read(find), limit, DOCUMENTS)
        shown = [Document.of(one) for one in page]
        return DocumentPage(documents=shown, next_cursor=following)

    return router


def _steering(backend: Backend) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/jobs/{job_id}:pause", openapi_extra=optional_body(Nothing))
    async def pause(request: Request, job_id: int) -> Job:
        """Let a job wait: what is under way ends, and nothing more of it begins."""
        asked = await _asked(backend, request, job_id)
        return Job.of(await steering.pause(backend.database, **asked))

    @router.post("/v1/jobs/{job_id}:resume", openapi_extra=optional_body(Nothing))
    async def resume(request: Request, job_id: int) -> Job:
        """Let a paused job go on, with the keys of this request where it brings some."""
        asked = await _asked(backend, request, job_id)
        sealed = await _sealed(backend, request, job_id, RetryJob())
        return Job.of(await steering.resume(backend.database, **asked, sealed=sealed))

    @router.post("/v1/jobs/{job_id}:cancel", openapi_extra=optional_body(Nothing))
    async def cancel(request: Request, job_id: int) -> Job:
        """End a job: what is searchable stays so, and the rest is given up."""
        asked = await _asked(backend, request, job_id)
        seconds = backend.zombie_seconds
        return Job.of(await steering.cancel(backend.database, **asked, zombie_seconds=seconds))

    @router.post("/v1/jobs/{job_id}:retry", status_code=202, openapi_extra=optional_body(RetryJob))
    async def retry(request: Request, response: Response, job_id: int) -> Retrying:
        """Try again what failed in a job, which is the same job afterwards."""
        require(request, KeyScope.EMBED)
        asked = await read_options(RetryJob, request, backend.limits)
        view = await find_job(backend, request, job_id)
        retried = await retry_failures(
            backend.database,
            Failures(
                tenant=request.state.tenant, job=view.id, cause=asked.cause, canary=asked.canary
            ),
            sealed=await _sealed(backend, request, view.id, asked),
            request=retry_request(request, asked, view.id),
        )
        response.headers["Location"] = f"/v1/jobs/{view.id}"
        return Retrying(documents=retried.documents, jobs=list(retried.jobs))

    return router


async def _asked(backend: Backend, request: Request, job: int) -> steering.Steered:
    """Read which job is to be steered, by whom, and that no more is asked for."""
    require(request, KeyScope.EMBED)
    await read_options(Nothing, request, backend.limits)
    view = await find_job(backend, request, job)
    return {"tenant": request.state.tenant, "job": view.id}


async def _sealed(backend: Backend, request: Request, job: int, asked: RetryJob) -> str | None:
    """Seal the keys and addresses that a request brings for a job; None if there are none."""
    webhook_url = checked_url(backend, "webhook_url", asked.webhook_url)
    given = Credentials(
        embedding_key=header_key(request, "X-EmbeddingAPI-Key"),
        store_key=header_key(request, "X-VectorDB-Key"),
        webhook_url=webhook_url,
        webhook_key=header_key(request, "X-Webhook-Key"),
        validation_url=checked_url(backend, "validation_url", asked.validation_url),
    )
    tenant: str = request.state.tenant
    return await sealed_anew(backend.database, backend.secrets, tenant=tenant, job=job, given=given)
