"""A store is away: who waits, who goes to see, who opens the gate."""

from functools import partial

from tests.integration.ledger.interleavings.acts import (
    cancel,
    claim_now,
    extracted,
    finish,
    leases,
    steer,
)
from tests.integration.ledger.interleavings.stage import Scene, Transaction
from vectorflow.domain.retries import Retry, Wait
from vectorflow.errors import Unavailable
from vectorflow.ledger import releases, transitions
from vectorflow.ports.work import Lease
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import PretendWorker, Workplace


def away(lease: Lease) -> Transaction:
    """Find the store of a batch away, for no time at all."""
    error = Unavailable("it does not answer", retry_after=0.0)
    error.system = "store"
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


def outage_and_pause(place: Workplace) -> Scene:
    job = extracted(place, "a", "b")
    one, two = leases(place)
    place.database.write_now(away(one))
    return Scene(steer(transitions.pause, job), away(two))


def outage_and_cancel(place: Workplace) -> Scene:
    job = extracted(place, "a", "b")
    _, two = leases(place)
    return Scene(cancel(job), away(two))


SCENES = [
    two_find_a_store_away,
    outage_and_finish,
    outage_and_claim,
    two_go_to_see,
    opening_and_claim,
    opening_and_the_next_outage,
    outage_and_pause,
    outage_and_cancel,
]
