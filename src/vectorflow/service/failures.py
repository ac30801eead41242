"""Try failures again: of one job or of all, of one cause, or only a few of them first."""

from dataclasses import dataclass, field
from functools import partial

from vectorflow.domain.access import command_for
from vectorflow.errors import Conflict
from vectorflow.ledger import retry_requests, retrying
from vectorflow.ledger.database import Database
from vectorflow.ledger.retry_requests import RetryRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Which failures are meant: all of a tenant, or some of them."""

    tenant: str
    job: int | None = None
    """Only of this job."""
    cause: str | None = None
    """Only those with this code."""
    canary: int | None = None
    """Only so many, the oldest, to see what becomes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What is tried again."""

    documents: int
    jobs: tuple[int, ...]
    """Those that run again."""


async def retry_failures(
    database: Database,
    failures: Failures,
    *,
    sealed: str | None = None,
    request: RetryRequest | None = None,
) -> Retried:
    """Give documents that failed a new version each, in the jobs that they came with.

    Args:
        database: The ledger.
        failures: Which of them.
        sealed: Credentials for the one job, in the place of those that it has kept.
        request: What asks for it; the same one again does no more, and is told the same.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: Nothing can be tried again, or the key of the request came with another one.
    """
    retry = _Retry(database, failures, request)
    if failures.job is not None:
        await retry.one(failures.job, sealed)
    else:
        await retry.all()
    return Retried(documents=retry.documents, jobs=tuple(retry.jobs))


@dataclass(slots=True)
class _Retry:
    """Goes from job to job, a transaction each."""

    database: Database
    failures: Failures
    request: RetryRequest | None
    documents: int = 0
    jobs: list[int] = field(default_factory=list[int])

    async def one(self, job: int, sealed: str | None = None) -> None:
        """Try again what failed in a job, as many as are left to be tried."""
        asked = self.failures
        if self.request is not None:
            again = partial(retry_requests.retry, request=self.request, most=asked.canary)
            known = partial(again, job=job, cause=asked.cause, sealed=sealed)
            self._take(await self.database.write(known))
            return
        left = None if asked.canary is None else asked.canary - self.documents
        anew = partial(retrying.retry, tenant=asked.tenant, job=job, cause=asked.cause, most=left)
        self.documents += await self.database.write(partial(anew, sealed=sealed))
        self.jobs.append(job)

    async def all(self) -> None:
        """Do so in every job of the tenant, the oldest first."""
        if self.request is not None:
            begin = partial(retry_requests.begin, request=self.request)
            known = await self.database.write(begin)
            self._take(known)
            if known.ended:
                return
        asked = self.failures
        find = partial(retrying.retriable_jobs, tenant=asked.tenant, cause=asked.cause)
        for job in await self.database.read(find):
            if self.documents == asked.canary:
                break
            try:
                await self.one(job)
            except Conflict:  # it changed meanwhile: the others are tried all the same
                continue
        if not self.jobs:
            raise self._nothing()
        if self.request is not None:
            await self.database.write(partial(retry_requests.end, request=self.request))

    def _take(self, known: retry_requests.SoFar) -> None:
        self.documents, self.jobs = known.documents, list(known.jobs)

    def _nothing(self) -> Conflict:
        cause = self.failures.cause
        what = f"no failure with the code {cause}" if cause else "no failure"
        message = f"{what} can be tried again"
        lists = command_for(self.failures.tenant, "failures")
        fix = f"{lists} lists them; what was never read has to be sent again"
        return Conflict(message, fix=fix)
