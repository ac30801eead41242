"""Jobs that clients pause, resume and cancel; to ask twice is to ask once."""

from functools import partial
from typing import Any, TypedDict

from vectorflow.domain.jobs import JobState
from vectorflow.errors import Conflict
from vectorflow.ledger import reads, transitions
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import JobView


class Steered(TypedDict):
    """Which job, and whose."""

    tenant: str
    job: int


async def pause(database: Database, *, tenant: str, job: int) -> JobView:
    """Let a job wait; one that waits already keeps its reason.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It has ended.
    """
    act = partial(transitions.pause, tenant=tenant, job=job)
    return await _steered(database, act, JobState.PAUSED)


async def resume(
    database: Database, *, tenant: str, job: int, sealed: str | None = None
) -> JobView:
    """Let a paused job go on, with other credentials if there are.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It has ended, or runs while other credentials are given.
    """
    act = partial(transitions.resume, tenant=tenant, job=job, sealed=sealed)
    return await _steered(database, act, JobState.RUNNING if sealed is None else None)


async def cancel(database: Database, *, tenant: str, job: int, zombie_seconds: float) -> JobView:
    """End a job: what is live stays served, the rest of it is given up.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: It has ended by itself, or is about to.
    """
    act = partial(transitions.cancel, tenant=tenant, job=job, zombie_seconds=zombie_seconds)
    return await _steered(database, act, JobState.CANCELLED)


async def _steered(database: Database, act: partial[Any], goal: JobState | None) -> JobView:
    """Bring a job into a state, unless it is there already."""
    find = partial(reads.job, tenant=act.keywords["tenant"], id=act.keywords["job"])
    try:
        await database.write(act)
    except Conflict:
        view = await database.read(find)
        if view.state is not goal:
            raise
        return view
    return await database.read(find)
