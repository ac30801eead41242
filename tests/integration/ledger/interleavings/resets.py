"""An index is written anew while others work on it."""

import asyncio
from functools import partial

from tests.integration.ledger.interleavings.acts import (
    EMBED,
    claim_now,
    delete,
    extracted,
    finish,
    leases,
    live,
    live_mails,
    submit,
    with_inside,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene, Transaction
from vectorflow.ledger import indexes
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.workplace import Workplace, part_of


def reset(lease: Lease) -> Transaction:
    return partial(indexes.reset_index, index=lease.index.id, incarnation=lease.index.incarnation)


def two_resets(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a", "b")
    (lease, _) = leases(place)

    def check(one: object, two: object) -> None:
        assert {one, two} == {True, False}

    return Scene(reset(lease), reset(lease), check)


def reset_and_the_end_of_extraction(place: Workplace) -> Scene:
    live(place, "a")
    place.submit({"a": "two"})
    place.submit({"long": "text"})
    one, two = leases(place)
    version = two.versions[0].id
    parts = tuple(part_of(version, number, last=number == 2) for number in range(3))
    results = [worker(place).result(one), Finished(lease=two, parts=parts)]
    return Scene(finish(*results), reset(one))


def reset_and_flip(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "b", "a")
    held = leases(place)
    return Scene(finish(*(Finished(lease=lease) for lease in held)), reset(held[0]))


def reset_and_submit(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a")
    (lease,) = leases(place)
    return Scene(submit(place, "b", "a", "c", text="three"), reset(lease))


def reset_and_delete(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a")
    (lease,) = leases(place)
    return Scene(delete(place, "b", "a"), reset(lease))


def reset_and_retire(place: Workplace) -> Scene:
    live(place, "a")
    extracted(place, "a")
    asyncio.run(worker(place).run(EMBED))
    (retire,) = leases(place)
    return Scene(finish(Finished(lease=retire)), reset(retire))


def reset_and_claim(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    (lease,) = leases(place, limit=1)
    return Scene(claim_now(5), reset(lease))


def reset_and_attachments(place: Workplace) -> Scene:
    live_mails(place, "mail", a="one", b="one")
    place.submit({"mail": "two"})
    (lease,) = leases(place)
    return Scene(finish(with_inside(lease, b="two", c="two")), reset(lease))


SCENES = [
    two_resets,
    reset_and_the_end_of_extraction,
    reset_and_flip,
    reset_and_submit,
    reset_and_delete,
    reset_and_retire,
    reset_and_claim,
    reset_and_attachments,
]
