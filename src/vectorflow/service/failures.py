"""Try failures again: of one job or of all, of one cause, or only a few of them first."""

from dataclasses import dataclass
from functools import partial

from vectorflow.errors import Conflict
from vectorflow.ledger import retrying
from vectorflow.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What is tried again."""

    documents: int
    jobs: tuple[int, ...]
    """Those that run again."""


async def retry_failures(
    database: Database,
    *,
    tenant: str,
    job: int | None = None,
    cause: str | None = None,
    canary: int | None = None,
    sealed: str | None = None,
) -> Retried:
    """Give documents that failed a new version each, in the jobs that they came with.

    Args:
        database: The ledger.
        tenant: Whose failures.
        job: Only of this job.
        cause: Only those with this code.
        canary: Only so many, the oldest, to see what becomes of them.
        sealed: Credentials for the one job, in the place of those that it has kept.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: Nothing can be tried again.
    """
    if job is not None:
        again = partial(retrying.retry, tenant=tenant, job=job, cause=cause, most=canary)
        documents = await database.write(partial(again, sealed=sealed))
        return Retried(documents=documents, jobs=(job,))
    found = await database.read(partial(retrying.retriable_jobs, tenant=tenant, cause=cause))
    documents, begun = 0, list[int]()
    for one in found:
        left = None if canary is None else canary - documents
        if left == 0:
            break
        again = partial(retrying.retry, tenant=tenant, job=one, cause=cause, most=left)
        try:
            documents += await database.write(again)
        except Conflict:  # it changed meanwhile: the others are tried all the same
            continue
        begun.append(one)
    if not begun:
        what = f"no failure with the code {cause}" if cause else "no failure"
        message = f"{what} can be tried again"
        fix = "`vectorflow failures` lists them; what was never read has to be sent again"
        raise Conflict(message, fix=fix)
    return Retried(documents=documents, jobs=tuple(begun))
