"""Failures are tried again or given up while others work on their job."""

from tests.integration.ledger.interleavings.acts import (
    bad,
    finish,
    one_failed,
    steer,
    submit,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene
from vectorflow.errors import Conflict
from vectorflow.ledger import retrying
from vectorflow.testing.workplace import Workplace


def retry_and_finish(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    return Scene(steer(retrying.retry, job), finish(worker(place).result(lease)))


def retry_and_the_last_failure(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    return Scene(steer(retrying.retry, job), finish(bad(lease)))


def retry_and_submit(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(
        steer(retrying.retry, job), submit(place, "b", "a", text="new"), refusals=(Conflict,)
    )


def two_retries(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(steer(retrying.retry, job), steer(retrying.retry, job), refusals=(Conflict,))


def discard_and_retry(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    discard = steer(retrying.discard, job)
    return Scene(discard, steer(retrying.retry, job), refusals=(Conflict,))


def discard_and_submit(place: Workplace) -> Scene:
    job, lease = one_failed(place)
    place.database.write_now(finish(bad(lease)))
    return Scene(steer(retrying.discard, job), submit(place, "b", "a", text="new"))


SCENES = [
    retry_and_finish,
    retry_and_the_last_failure,
    retry_and_submit,
    two_retries,
    discard_and_retry,
    discard_and_submit,
]
