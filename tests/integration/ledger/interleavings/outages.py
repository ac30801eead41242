"""A store is away: who waits, who goes to see, who opens the gate."""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from tests.clocks import set_clock
from tests.integration.ledger.interleavings.acts import (
    bad,
    cancel,
    claim_now,
    extracted,
    finish,
    leases,
    long_document,
    steer,
)
from tests.integration.ledger.interleavings.stage import Scene, Transaction, execute
from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.outages import SystemKind
from vectorflow.domain.retries import Retry, Wait
from vectorflow.errors import Unavailable
from vectorflow.ledger import clock_steps, outages, releases, submission, transitions
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import PretendWorker, Workplace, document


def away(lease: Lease, system: SystemKind = SystemKind.STORE) -> Transaction:
    """Find a system of a batch away, for no time at all."""
    error = Unavailable("it does not answer", retry_after=0.0)
    error.system = system
    return partial(
        releases.release,
        lease=lease,
        error=error,
        decision=Wait(otherwise=Retry(delay=0.0, refund=False)),
        zombie_seconds=60.0,
    )


def two_find_a_store_away(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, two, _ = leases(place)

    def check(_one: object, _two: object) -> None:
        assert rows(place.database, "SELECT state FROM buckets") == [("paused",)]

    return Scene(away(one), away(two), check)


def outage_and_finish(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, two, three = leases(place)
    place.database.write_now(away(three))
    return Scene(away(one), finish(PretendWorker(place.worker("setup")).result(two)))


def outage_and_claim(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, *_ = leases(place, limit=1)
    return Scene(away(one), claim_now(2))


def two_go_to_see(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c")
    one, *_ = leases(place, limit=1)
    place.database.write_now(away(one))

    def check(one: list[Lease], two: list[Lease]) -> None:
        assert len(one) + len(two) == 1

    return Scene(claim_now(2), claim_now(2), check)


def opening_and_claim(place: Workplace) -> Scene:
    """One makes ready what waited, as the other finds the next outage."""
    extracted(place, "a", "b", "c")
    one, two, three = leases(place)
    for lease in (one, two):
        place.database.write_now(away(lease))
    done = PretendWorker(place.worker("setup")).result(three)
    place.database.write_now(finish(done))
    return Scene(claim_now(2), claim_now(2))


def opening_and_the_next_outage(place: Workplace) -> Scene:
    extracted(place, "a", "b", "c", "d")
    one, two, three, four = leases(place)
    for lease in (one, two):
        place.database.write_now(away(lease))
    done = PretendWorker(place.worker("setup")).result(three)
    place.database.write_now(finish(done))
    return Scene(claim_now(2), away(four))


def opening_and_the_end_of_a_paused_job(place: Workplace) -> Scene:
    """What waited for the provider is let out, though its job is paused, which ends right then."""
    extracted(place, "other")
    (other,) = leases(place)
    one, two = long_document(place)
    place.database.write_now(away(two, SystemKind.PROVIDER))
    place.pause(one.job.id)
    place.database.write_now(finish(bad(one)))
    place.pass_time()
    retires = leases(place, BatchKind.RETIRE)
    done = PretendWorker(place.worker("setup")).result(other)
    place.database.write_now(finish(done))
    ends = finish(*(Finished(lease=lease) for lease in retires))
    # Who ends it tries anew while the claim holds the batch, and here that stands still.
    return Scene(claim_now(2), ends, refusals=(Unavailable,))


def outage_and_pause(place: Workplace) -> Scene:
    job = extracted(place, "a", "b")
    one, two = leases(place)
    place.database.write_now(away(one))
    return Scene(steer(transitions.pause, job), away(two))


def leaving_to_a_paused_job_and_its_resume(place: Workplace) -> Scene:
    """It is time to see whether the store is back, and all that waits for it is of one job."""
    one, two = long_document(place)
    for lease in (one, two):
        place.database.write_now(away(lease))
    place.pause(one.job.id)
    place.pass_time()
    return Scene(claim_now(2), steer(transitions.resume, one.job.id))


def outage_and_cancel(place: Workplace) -> Scene:
    job = extracted(place, "a", "b")
    _, two = leases(place)
    return Scene(cancel(job), away(two))


def two_away(place: Workplace) -> tuple[Sequence[Lease], dict[str, int]]:
    """Give leases while provider and store are away, and the buckets: the store has the later."""
    extracted(place, "a", "b", "c", "d", "e")
    one, two, *more = leases(place)
    place.database.write_now(away(one, SystemKind.PROVIDER))
    place.database.write_now(away(two))
    found = rows(place.database, "SELECT kind, id FROM buckets ORDER BY id")
    assert [kind for kind, _ in found] == [SystemKind.PROVIDER, SystemKind.STORE]
    return more, {str(kind): int(str(key)) for kind, key in found}


def goes_to_see(place: Workplace, lease: Lease, bucket: int) -> None:
    probe = f"UPDATE batches SET bucket_id = {bucket} WHERE id = {lease.batch}"  # noqa: S608
    execute(place.database, probe)


def finish_that_opens_one_and_lets_another_go(place: Workplace) -> Scene:
    """The first proves the store, and ends without a word of the provider."""
    (one, two, _), known = two_away(place)
    goes_to_see(place, one, known[SystemKind.PROVIDER])
    return Scene(finish(Finished(lease=one)), finish(PretendWorker(place.worker("x")).result(two)))


def outage_of_another_than_was_looked_at_and_finish(place: Workplace) -> Scene:
    """The first went to see the provider, and finds the store away."""
    (one, two, _), known = two_away(place)
    goes_to_see(place, one, known[SystemKind.PROVIDER])
    return Scene(away(one), finish(PretendWorker(place.worker("x")).result(two)))


def forgetting_and_the_next_failure(place: Workplace) -> Scene:
    """Nobody waits for the store any more, until somebody finds it away again."""
    extracted(place, "a", "b")
    one, two = leases(place)
    place.database.write_now(away(one))
    place.cancel(one.job.id)
    place.pass_time()
    return Scene(outages.forget, away(two))


def forgetting_and_claim(place: Workplace) -> Scene:
    job = extracted(place, "a")
    (lease,) = leases(place)
    place.database.write_now(away(lease))
    place.cancel(job)
    extracted(place, "b", "c")
    place.pass_time()
    return Scene(outages.forget, claim_now(2))


def clock_set_back_and_cancel(place: Workplace) -> Scene:
    """What is leased was made before what waits."""
    look = partial(clock_steps.follow, lease_seconds=30.0, zombie_seconds=60.0)
    place.database.write_now(look)
    new = place.new_job()

    def accept(connection: Connection) -> int:
        job = submission.start_job(connection, new).job
        for name in ("a", "b", "c"):
            submission.add_documents(connection, job, [document(name, "text")])
        return job

    job = place.database.write_now(accept)
    leases(place, limit=1)
    set_clock(place.database, -3600.0)

    def check(back: float, _cancelled: object) -> None:
        assert back > 3000.0

    return Scene(look, cancel(job), check)


SCENES = [
    two_find_a_store_away,
    outage_and_finish,
    outage_and_claim,
    two_go_to_see,
    opening_and_claim,
    opening_and_the_next_outage,
    opening_and_the_end_of_a_paused_job,
    outage_and_pause,
    outage_and_cancel,
    leaving_to_a_paused_job_and_its_resume,
    finish_that_opens_one_and_lets_another_go,
    outage_of_another_than_was_looked_at_and_finish,
    forgetting_and_the_next_failure,
    forgetting_and_claim,
    clock_set_back_and_cancel,
]
