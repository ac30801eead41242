"""Failures by cause: try them again, or give them up."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.api.bodies import read_options
from vectorflow.api.jobs import find_job
from vectorflow.api.openapi import PROBLEMS, optional_body
from vectorflow.api.orders import retry_request
from vectorflow.api.schemas import MAX_JOB_ID
from vectorflow.api.v1_schemas import (
    Causes,
    Discarded,
    DiscardFailures,
    FailureCause,
    RetryFailures,
    Retrying,
)
from vectorflow.domain.access import KeyScope
from vectorflow.errors import InvalidInput
from vectorflow.ledger import outcome_reads, retrying
from vectorflow.service.failures import Failures, retry_failures

MAX_CAUSES = 1000


def failure_routes(backend: Backend) -> APIRouter:
    """Make the routes of failures."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS)

    @router.get("/failures")
    async def failures(
        request: Request, job: Annotated[int | None, Query(ge=1, le=MAX_JOB_ID)] = None
    ) -> Causes:
        """Show failures by cause, with the fix: of a job, or all that are not replaced."""
        require(request, KeyScope.READ)
        await _check(backend, request, job)
        tenant: str = request.state.tenant
        find = partial(outcome_reads.causes, tenant=tenant, job=job, limit=MAX_CAUSES)
        found = await backend.database.read(find)
        return Causes(causes=[FailureCause.of(view) for view in found])

    @router.post("/failures:retry", status_code=202, openapi_extra=optional_body(RetryFailures))
    async def retry(request: Request) -> Retrying:
        """Try failures again, of one job or of all, in the jobs that they came with."""
        require(request, KeyScope.EMBED)
        asked = await read_options(RetryFailures, request, backend.limits)
        await _check(backend, request, asked.job)
        retried = await retry_failures(
            backend.database,
            Failures(
                tenant=request.state.tenant, job=asked.job, cause=asked.cause, canary=asked.canary
            ),
            request=retry_request(request, asked, None),
        )
        return Retrying(documents=retried.documents, jobs=list(retried.jobs))

    @router.post("/failures:discard", openapi_extra=optional_body(DiscardFailures))
    async def discard(request: Request) -> Discarded:
        """Give failures up for good: they are listed no more, and their bytes are let go of."""
        require(request, KeyScope.EMBED)
        asked = await read_options(DiscardFailures, request, backend.limits)
        if asked.job is None and asked.cause is None and not asked.all:
            message = "the body does not say which failures to give up"
            raise InvalidInput(message, fix='send a "job", a "cause" or both, or "all": true')
        await _check(backend, request, asked.job)
        tenant: str = request.state.tenant
        give_up = partial(retrying.discard, tenant=tenant, job=asked.job, cause=asked.cause)
        return Discarded(discarded=await backend.database.write(give_up))

    return router


async def _check(backend: Backend, request: Request, job: int | None) -> None:
    """See that a job is there: one that is unknown is an error, not an empty list."""
    if job is not None:
        await find_job(backend, request, job)
