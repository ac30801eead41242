"""What is over is let go of while others may still need it."""

import asyncio

from sqlalchemy import Connection

from tests.integration.ledger.interleavings.acts import (
    EMBED,
    bad,
    extracted,
    finish,
    leases,
    live,
    one_failed,
    steer,
    submit,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene
from vectorflow.errors import Conflict
from vectorflow.ledger import retention, retrying
from vectorflow.ledger.retention import Retention
from vectorflow.ports.work import Finished
from vectorflow.testing.workplace import Workplace


def forget(connection: Connection) -> int:
    """Let go of all that is over; `RULES` in one transaction, where the duty takes one for each."""
    kept = Retention(versions=-1, attempts=-1, jobs=-1, failures=-1, keys=-1)
    jobs = retention.next_jobs(connection, after=0, kept=kept)
    assert jobs
    return sum(
        rule.end(connection, rule.find(connection, jobs.ended, kept)) for rule in retention.RULES
    )


def forgetting_and_retry(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(forget, steer(retrying.retry, job), refusals=(Conflict,))


def forgetting_and_submit(place: Workplace) -> Scene:
    live(place, "a")
    live(place, "a", text="two")
    live(place, "b")
    return Scene(forget, submit(place, "a", "b", text="three"))


def forgetting_and_flip(place: Workplace) -> Scene:
    live(place, "a")
    live(place, "a", text="two")
    extracted(place, "a", text="three")
    (lease,) = leases(place, EMBED)
    return Scene(forget, finish(Finished(lease=lease)), _both_of_use)


def forgetting_and_a_late_write(place: Workplace) -> Scene:
    """Whoever wrote after all makes work for a job that is just being deleted."""
    extracted(place, "a", text="one")
    (stale,) = leases(place, EMBED)
    place.pass_time()
    place.reap()
    asyncio.run(worker(place).run())
    live(place, "a", text="two")
    place.pass_time()
    asyncio.run(worker(place).run())

    def check(_gone: object, finished: object) -> None:
        assert finished == [False]

    return Scene(forget, finish(Finished(lease=stale)), check)


def two_who_forget(place: Workplace) -> Scene:
    for text in ("one", "two", "three"):
        live(place, "a", "b", text=text)
    return Scene(forget, forget)


def _both_of_use(gone: object, finished: object) -> None:
    assert gone
    assert finished == [True]


SCENES = [
    forgetting_and_retry,
    forgetting_and_submit,
    forgetting_and_flip,
    forgetting_and_a_late_write,
    two_who_forget,
]
