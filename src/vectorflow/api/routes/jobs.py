"""How jobs stand, in the words of the v0 API."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Request

from vectorflow.api.auth import require
from vectorflow.api.backend import Backend
from vectorflow.api.bodies import read_body
from vectorflow.api.errors import no_job
from vectorflow.api.schemas import (
    MAX_JOB_ID,
    JobAndStatus,
    JobIds,
    JobStatus,
    JobStatuses,
)
from vectorflow.domain.access import KeyScope
from vectorflow.domain.jobs import JobState
from vectorflow.ledger import reads
from vectorflow.ledger.reads import JobView

_ENDED = {
    JobState.COMPLETED: "COMPLETED",
    JobState.PARTIAL: "PARTIALLY_COMPLETED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "CANCELLED",
}


def job_routes(backend: Backend) -> APIRouter:
    """Make the routes of job statuses."""
    router = APIRouter()

    async def views(request: Request, ids: list[int]) -> list[JobView]:
        tenant: str = request.state.tenant
        known = [job for job in ids if 0 < job <= MAX_JOB_ID]
        find = partial(reads.job_list, tenant=tenant, ids=known, limit=len(known))
        found = {view.id: view for view in await backend.database.read(find)} if known else {}
        if not found:
            raise no_job()
        return [found[job] for job in dict.fromkeys(ids) if job in found]

    @router.get("/jobs/{job_id}/status")
    async def status(request: Request, job_id: Annotated[int, Path()]) -> JobStatus:
        """Tell how one job stands."""
        require(request, KeyScope.READ)
        [view] = await views(request, [job_id])
        return JobStatus(status=status_of(view))

    @router.post("/jobs/status")
    async def statuses(request: Request) -> JobStatuses:
        """Tell how several jobs stand; unknown ones are left out."""
        require(request, KeyScope.READ)
        asked = await read_body(JobIds, request, backend.limits)
        found = await views(request, asked.ids)
        return JobStatuses(
            jobs=[JobAndStatus(job=view.id, status=status_of(view)) for view in found]
        )

    return router


def status_of(view: JobView) -> str:
    """Translate the state of a job."""
    if view.state.ended:
        return _ENDED[view.state]
    return "IN_PROGRESS" if view.started else "NOT_STARTED"
