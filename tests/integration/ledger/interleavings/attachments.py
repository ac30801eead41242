"""Documents inside documents, which come and go with them."""

import asyncio
from collections.abc import Sequence

from tests.integration.ledger.interleavings.acts import (
    EMBED,
    EXTRACT,
    cancel,
    delete,
    finish,
    leases,
    live_mails,
    submit,
    with_inside,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene
from vectorflow.errors import Conflict
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.ledgers import rows
from vectorflow.testing.workplace import Workplace


def mails(place: Workplace, *names: str, text: str, **inside: str) -> Sequence[Lease]:
    """Submit mails and extract them; gives the leases of what comes of it."""
    mailer = worker(place)
    mailer.attached = dict.fromkeys(names, inside)
    for name in names:
        place.submit({name: text})
    extracts = leases(place, EXTRACT)
    place.database.write_now(finish(*map(mailer.result, extracts)))
    return leases(place)


def attachments_and_the_flip_of_those_before(place: Workplace) -> Scene:
    held = mails(place, "mail", text="one", a="one", b="one")
    embeds = [lease for lease in held if lease.kind is EMBED]
    place.database.write_now(finish(*(Finished(lease=lease) for lease in embeds)))
    rest = [worker(place).result(lease) for lease in held if lease.kind is EXTRACT]
    place.database.write_now(finish(*rest))
    flips = [Finished(lease=lease) for lease in leases(place)]
    place.submit({"mail": "two"})
    (again,) = leases(place)
    return Scene(finish(*flips), finish(with_inside(again, b="two", c="two")))


def attachments_and_delete(place: Workplace) -> Scene:
    live_mails(place, "mail", "other", a="one", b="one")
    place.submit({"mail": "two"})
    (lease,) = leases(place)
    return Scene(finish(with_inside(lease, b="two", c="two")), delete(place, "mail", "other"))


def attachments_and_a_document_of_the_same_id(place: Workplace) -> Scene:
    place.submit({"mail": "one"})
    (lease,) = leases(place)
    return Scene(finish(with_inside(lease, a="one")), submit(place, "mail//a", "mail", "x"))


def attachments_of_two_mails(place: Workplace) -> Scene:
    live_mails(place, "one", "two", a="one", b="one")
    for name in ("one", "two"):
        place.submit({name: "two"})
    one, two = leases(place)
    return Scene(
        finish(with_inside(two, b="two", c="two")), finish(with_inside(one, b="two", c="two"))
    )


def deleting_mails_and_the_flip_of_attachments(place: Workplace) -> Scene:
    live_mails(place, "one", "two", a="one", b="one")
    held = mails(place, "one", "two", text="two", a="two", b="two")
    asyncio.run(place.worker("here").finish([Finished(lease=held[0])]))
    rest = [lease for lease in held[1:] if lease.kind is EXTRACT]
    place.database.write_now(finish(*map(worker(place).result, rest)))
    flips = [lease for lease in (*held[1:], *leases(place)) if lease.kind is EMBED]
    results = [Finished(lease=lease) for lease in flips]
    return Scene(finish(*results), delete(place, "two", "one"))


def a_deletion_that_waited_and_the_flip_of_attachments(place: Workplace) -> Scene:
    live_mails(place, "one", "two", a="one", b="one")
    held = mails(place, "one", "two", text="two", a="two", b="two")
    rest = [lease for lease in held if lease.kind is EXTRACT]
    place.database.write_now(finish(*map(worker(place).result, rest)))
    place.delete("two", "one")
    first = [Finished(lease=lease) for lease in held if lease.kind is EMBED]
    flips = [Finished(lease=lease) for lease in leases(place, EMBED)]
    return Scene(finish(*first), finish(*flips))


def deleted_while_attachments_flip(place: Workplace) -> tuple[int, list[Finished]]:
    """Give a job that has deleted two mails, and the ends of the attachments for which it waits."""
    held = mails(place, "one", "two", text="one", a="one", b="one")
    ends = [worker(place).result(lease) for lease in held]
    place.database.write_now(finish(*ends))
    flips = [Finished(lease=lease) for lease in leases(place, EMBED)]
    return place.delete("two", "one"), flips


def cancelling_a_deletion_and_the_flip_of_attachments(place: Workplace) -> Scene:
    job, flips = deleted_while_attachments_flip(place)
    return Scene(cancel(job), finish(*flips), refusals=(Conflict,))


def cancelling_a_deletion_and_the_job_that_it_waits_for(place: Workplace) -> Scene:
    job, flips = deleted_while_attachments_flip(place)
    return Scene(cancel(job), cancel(flips[-1].lease.job.id))


def cancelling_a_deletion_and_the_mail_again(place: Workplace) -> Scene:
    job, _ = deleted_while_attachments_flip(place)
    place.submit({"one": "two", "two": "two"})
    (lease,) = leases(place, EXTRACT)
    again = finish(with_inside(lease, b="two", c="two"))
    return Scene(cancel(job), again, refusals=(Conflict,))


def cancelling_the_return_of_deleted_mails_and_the_flip_of_attachments(place: Workplace) -> Scene:
    _, flips = deleted_while_attachments_flip(place)
    job = place.submit({"two": "two", "one": "two"})
    (lease,) = leases(place, EXTRACT)
    place.database.write_now(finish(with_inside(lease, b="two", c="two")))
    return Scene(cancel(job), finish(*flips))


def cancelling_mails_that_lost_attachments_and_the_flip_of_all(place: Workplace) -> Scene:
    held = mails(place, "one", "two", text="one", a="one", b="one")
    place.database.write_now(finish(*map(worker(place).result, held)))  # the mails are live
    flips = [Finished(lease=lease) for lease in leases(place, EMBED)]
    job = place.submit({"two": "two", "one": "two"})
    place.database.write_now(finish(*map(worker(place).result, leases(place, EXTRACT))))
    (last,) = leases(place, EMBED)
    return Scene(cancel(job), finish(Finished(lease=last), *flips), refusals=(Conflict,))


def mails_and_what_comes_back_while_attachments_flip(place: Workplace) -> Scene:
    """One transaction takes attachments and ends a mail that comes back, the other ends both's."""
    held = mails(place, "back", "mail", text="one", a="one", b="one")
    place.database.write_now(finish(*map(worker(place).result, held)))
    flips = [Finished(lease=lease) for lease in leases(place, EMBED)]
    place.delete("back")
    place.submit({"back": "two"})
    place.database.write_now(finish(*map(worker(place).result, leases(place, EXTRACT))))
    ends = [Finished(lease=lease) for lease in leases(place, EMBED)]
    place.submit({"mail": "two"})
    (lease,) = leases(place, EXTRACT)
    return Scene(finish(with_inside(lease, b="two"), *ends), finish(*flips))


def cancelling_what_a_deletion_gave_way_to_and_the_flip_of_attachments(place: Workplace) -> Scene:
    held = mails(place, "mail", text="one", a="one", b="one")
    place.submit({"other": "one"})
    extracts = [lease for lease in (*held, *leases(place)) if lease.kind is EXTRACT]
    place.database.write_now(finish(*map(worker(place).result, extracts)))
    flips = [Finished(lease=lease) for lease in leases(place, EMBED)]
    place.delete("mail")
    job = place.submit({"mail": "two", "other": "two"})
    first = [Finished(lease=lease) for lease in held if lease.kind is EMBED]
    place.database.write_now(finish(*first))
    return Scene(cancel(job), finish(*flips))


def two_ends_of_the_same_extraction(place: Workplace) -> Scene:
    place.submit({"mail": "one"})
    (lost,) = leases(place)
    place.pass_time()
    place.reap()
    (again,) = leases(place)

    def check(one: object, two: object) -> None:
        assert (one, two) == ([False], [True])
        names = rows(place.database, "SELECT external_id FROM documents ORDER BY id")
        assert names == [("mail",), ("mail//a",)]

    return Scene(finish(with_inside(lost, z="one")), finish(with_inside(again, a="one")), check)


SCENES = [
    attachments_and_the_flip_of_those_before,
    attachments_and_delete,
    attachments_and_a_document_of_the_same_id,
    attachments_of_two_mails,
    deleting_mails_and_the_flip_of_attachments,
    a_deletion_that_waited_and_the_flip_of_attachments,
    cancelling_a_deletion_and_the_flip_of_attachments,
    cancelling_a_deletion_and_the_job_that_it_waits_for,
    cancelling_a_deletion_and_the_mail_again,
    cancelling_the_return_of_deleted_mails_and_the_flip_of_attachments,
    cancelling_mails_that_lost_attachments_and_the_flip_of_all,
    mails_and_what_comes_back_while_attachments_flip,
    cancelling_what_a_deletion_gave_way_to_and_the_flip_of_attachments,
    two_ends_of_the_same_extraction,
]
