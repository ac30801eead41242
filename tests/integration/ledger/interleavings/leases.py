"""Who holds a batch: claims, renewals, losses and who finishes late."""

from functools import partial

from sqlalchemy import select

from tests.integration.ledger.interleavings.acts import (
    EMBED,
    bad,
    claim_now,
    extracted,
    finish,
    leases,
    long_document,
    reap,
    submit,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene
from vectorflow.domain.retries import SUSPECT_AFTER
from vectorflow.ledger import claims, duties, finishing, losses
from vectorflow.ledger.tables import batches
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import Workplace


def two_claims(place: Workplace) -> Scene:
    for number in range(3):
        place.submit({f"d{number}": "text"})

    def check(one: list[Lease], two: list[Lease]) -> None:
        assert not {lease.batch for lease in one} & {lease.batch for lease in two}
        assert max(len(one), len(two)) == 2

    return Scene(claim_now(2), claim_now(2), check)


def two_first_batches_of_a_tenant(place: Workplace) -> Scene:
    def check(*_: object) -> None:
        turns = rows(place.database, "SELECT virtual_time FROM batches WHERE state = 'ready'")
        assert len(set(turns)) == len(turns) >= 2

    return Scene(submit(place, "a"), submit(place, "b"), check)


def two_more_batches_of_a_tenant(place: Workplace) -> Scene:
    place.submit({"first": "text"})
    return two_first_batches_of_a_tenant(place)


def claim_and_reap(place: Workplace) -> Scene:
    place.submit({"a": "one"})
    place.submit({"b": "one"})
    leases(place, limit=1)
    place.pass_time()
    return Scene(claim_now(2), reap)


def finish_and_reap(place: Workplace) -> Scene:
    extracted(place, "a")
    (lease,) = leases(place)
    place.pass_time()

    def check(one: object, two: object) -> None:
        assert (one, two) in (([True], 0), ([False], 1))

    return Scene(finish(Finished(lease=lease)), reap, check)


def finish_and_take_over(place: Workplace) -> Scene:
    extracted(place, "a")
    (lease,) = leases(place)
    take_over = partial(losses.take_over, owner_prefix="here", zombie_seconds=60.0)
    return Scene(finish(Finished(lease=lease)), take_over)


def reap_and_renew(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    held = leases(place)
    place.pass_time()
    renew = partial(claims.renew, leases=held, lease_seconds=30.0)

    def check(reaped: int, renewed: list[Lease]) -> None:
        assert reaped + len(renewed) == len(held) == 2

    return Scene(reap, renew, check)


def reap_and_finish_of_parts(place: Workplace) -> Scene:
    held = long_document(place, 4)
    place.pass_time()
    place.database.write_now(partial(claims.renew, leases=held[:2], lease_seconds=30.0))
    return Scene(finish(*(Finished(lease=lease) for lease in held[:2])), reap)


def failure_and_renewal(place: Workplace) -> Scene:
    one, two = long_document(place)
    return Scene(finish(bad(one)), partial(claims.renew, leases=[two], lease_seconds=30.0))


def two_first_runs_of_a_duty(place: Workplace) -> Scene:
    del place
    run = partial(duties.claim_duty, name="reap", every=60.0)

    def check(one: object, two: object) -> None:
        assert {one, two} == {True, False}

    return Scene(run, run, check)


def vectors_and_reap(place: Workplace) -> Scene:
    """Vectors are kept, or their worker learns that they are not; nothing is said twice."""
    extracted(place, "a")
    (lease,) = leases(place)
    place.pass_time()

    def check(kept: object, reaped: object) -> None:
        statement = select(batches.c.vectors).where(batches.c.kind == EMBED)
        known = place.database.read_now(lambda ledger: ledger.execute(statement).scalar_one())
        assert (kept, known) in (([True], ["vectors/1"]), ([False], []))
        assert reaped == 1 or kept == [True]

    return Scene(partial(finishing.add_vectors, files=[(lease, "vectors/1")]), reap, check)


def the_last_loss_and_a_finish(place: Workplace) -> Scene:
    place.submit({"a": "one", "b": "one"})
    for _ in range(SUSPECT_AFTER - 1):
        leases(place)
        place.pass_time()
        place.reap()
    (lease,) = leases(place)
    place.pass_time()
    return Scene(reap, finish(worker(place).result(lease)))


SCENES = [
    two_claims,
    two_first_batches_of_a_tenant,
    two_more_batches_of_a_tenant,
    claim_and_reap,
    finish_and_reap,
    finish_and_take_over,
    reap_and_renew,
    reap_and_finish_of_parts,
    failure_and_renewal,
    two_first_runs_of_a_duty,
    the_last_loss_and_a_finish,
    vectors_and_reap,
]
