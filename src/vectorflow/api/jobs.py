"""The job that a request names."""

from functools import partial

from fastapi import Request

from vectorflow.api.backend import Backend
from vectorflow.api.errors import no_job
from vectorflow.api.schemas import MAX_JOB_ID
from vectorflow.ledger import reads
from vectorflow.ledger.reads import JobView


async def find_job(backend: Backend, request: Request, job: int) -> JobView:
    """Read a job of the tenant who asks.

    Raises:
        NotFound: There is none; a stranger's is told from none by nobody.
    """
    if not 0 < job <= MAX_JOB_ID:
        raise no_job()
    find = partial(reads.job_list, tenant=request.state.tenant, ids=[job])
    found = await backend.database.read(find)
    if not found:
        raise no_job()
    return found[0]
