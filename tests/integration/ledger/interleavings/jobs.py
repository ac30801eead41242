"""Jobs are paused, resumed, cancelled and cut up while others work on them."""

import asyncio
from contextlib import suppress
from functools import partial

from sqlalchemy import Connection

from tests.integration.ledger.interleavings.acts import (
    EXTRACT,
    cancel,
    claim_now,
    extracted,
    finish,
    leases,
    live,
    long_document,
    steer,
    submit,
    worker,
)
from tests.integration.ledger.interleavings.stage import Scene, Transaction
from vectorflow.domain.retries import Pause, Split
from vectorflow.errors import Conflict, KeyRefused, LeaseLost, TooMuchAtOnce
from vectorflow.ledger import finishing, releases, submission, transitions
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.workplace import TENANT, Workplace, document, part_of


def refuse_key(lease: Lease) -> Transaction:
    return partial(
        releases.release,
        lease=lease,
        error=KeyRefused("the key is not good"),
        decision=Pause(),
        zombie_seconds=60.0,
    )


def cancel_and_finish(place: Workplace) -> Scene:
    live(place, "a")
    job = extracted(place, "a")
    (lease,) = leases(place)

    def check(_cancelled: object, finished: object) -> None:
        assert finished == [False]

    return Scene(cancel(job), finish(Finished(lease=lease)), check, refusals=(Conflict,))


def cancel_and_the_end_of_extraction(place: Workplace) -> Scene:
    job = place.submit({"long": "text"})
    (lease,) = leases(place)
    version = lease.versions[0].id
    parts = tuple(part_of(version, number, last=number == 2) for number in range(3))
    return Scene(cancel(job), finish(Finished(lease=lease, parts=parts)))


def cancel_and_the_flip_of_what_it_waits_for(place: Workplace) -> Scene:
    extracted(place, "a", "b")
    new = place.new_job()
    items = [document("b", "three"), document("a", "three")]
    accept = partial(submission.accept, new=new, accepted=items, total=2)
    job = place.database.write_now(accept)
    results = [Finished(lease=lease) for lease in leases(place)]
    return Scene(cancel(job), finish(*results))


def cancel_and_submit(place: Workplace) -> Scene:
    live(place, "a", "b")
    job = extracted(place, "b", "a")
    return Scene(cancel(job), submit(place, "a", "b", "c", text="three"))


def cancel_and_claim(place: Workplace) -> Scene:
    job = extracted(place, "a")
    place.submit({"b": "one"})
    return Scene(cancel(job), claim_now(5))


def cancel_and_the_listing(place: Workplace) -> Scene:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job
    add = partial(submission.add_documents, job=job, accepted=[document("a", "x")])
    return Scene(cancel(job), add, refusals=(Conflict,))


def pause_and_claim(place: Workplace) -> Scene:
    job = place.submit({"a": "one"})
    place.submit({"b": "one"})
    return Scene(steer(transitions.pause, job), claim_now(5))


def half_aside(place: Workplace) -> int:
    """Give a paused job: one batch was set aside, one came back after that."""
    held = long_document(place)
    job = held[0].job.id
    asyncio.run(place.worker("here").release(held[0], None))
    place.pause(job)
    asyncio.run(place.worker("here").release(held[1], None))
    return job


def resume_and_claim(place: Workplace) -> Scene:
    return Scene(steer(transitions.resume, half_aside(place)), claim_now(5))


def setting_the_rest_aside_and_resume(place: Workplace) -> Scene:
    job = half_aside(place)
    return Scene(transitions.set_rest_aside, steer(transitions.resume, job))


def setting_the_rest_aside_and_cancel(place: Workplace) -> Scene:
    return Scene(transitions.set_rest_aside, cancel(half_aside(place)))


def setting_the_rest_aside_and_claim(place: Workplace) -> Scene:
    half_aside(place)
    place.submit({"b": "one"})
    return Scene(transitions.set_rest_aside, claim_now(5))


def two_refused_keys(place: Workplace) -> Scene:
    one, two = long_document(place)
    return Scene(refuse_key(one), refuse_key(two))


def resume_and_the_refused_key_of_another_batch(place: Workplace) -> Scene:
    """Its worker found out late what the job was paused for."""
    one, two = long_document(place)
    place.database.write_now(refuse_key(one))
    return Scene(steer(transitions.resume, one.job.id), refuse_key(two))


def resume_and_the_next_try_of_refused_clean_up(place: Workplace) -> Scene:
    live(place, "a")
    job = place.delete("a")
    (lease,) = leases(place)
    place.database.write_now(refuse_key(lease))
    place.pass_time()
    return Scene(steer(transitions.resume, job), claim_now(2))


def pause_and_resume(place: Workplace) -> Scene:
    """Who comes to resume it first has nothing to do."""
    job = place.submit({"a": "one"})

    def resume(connection: Connection) -> None:
        with suppress(Conflict):
            transitions.resume(connection, tenant=TENANT, job=job)

    return Scene(steer(transitions.pause, job), resume)


def refused_key_and_cancel(place: Workplace) -> Scene:
    one, *_ = long_document(place)
    return Scene(refuse_key(one), cancel(one.job.id))


def giving_way_and_finish(place: Workplace) -> Scene:
    live(place, "a", "b")
    extracted(place, "a", "b")
    held = leases(place)
    for lease in held:
        place.pause(lease.job.id)
    place.submit({"b": "three", "a": "three"})
    give_way = partial(transitions.give_way, zombie_seconds=60.0)
    return Scene(give_way, finish(*(Finished(lease=lease) for lease in held)))


def giving_way_and_resume(place: Workplace) -> Scene:
    job = extracted(place, "a")
    place.pause(job)
    place.submit({"a": "three"})
    give_way = partial(transitions.give_way, zombie_seconds=60.0)
    return Scene(give_way, steer(transitions.resume, job), refusals=(Conflict,))


def cut_up(place: Workplace) -> tuple[int, Lease, Transaction]:
    """Give a job, the lease of its only batch, and what cuts that into single documents."""
    job = place.submit({"a": "one", "b": "one", "c": "one"})
    asyncio.run(worker(place).run(EXTRACT))
    (lease,) = leases(place)
    cut = partial(
        releases.release,
        lease=lease,
        error=TooMuchAtOnce("too much"),
        decision=Split(),
        zombie_seconds=60.0,
    )
    return job, lease, cut


def cutting_up_and_cancel(place: Workplace) -> Scene:
    job, _, cut = cut_up(place)
    return Scene(cut, cancel(job))


def cutting_up_and_pause(place: Workplace) -> Scene:
    job, _, cut = cut_up(place)
    return Scene(cut, steer(transitions.pause, job))


def cutting_up_and_a_newer_version(place: Workplace) -> Scene:
    _, _, cut = cut_up(place)
    return Scene(cut, submit(place, "c", "a", text="two"))


def parts_and_cancel(place: Workplace) -> Scene:
    """A long document is on its way when its job is cancelled."""
    job = place.submit({"long": "text"})
    (lease,) = leases(place)
    new = [part_of(lease.versions[0].id, last=False)]
    commit = partial(finishing.commit_parts, lease=lease, new_parts=new, zombie_seconds=60.0)
    return Scene(commit, cancel(job), refusals=(LeaseLost,))


SCENES = [
    cancel_and_finish,
    cancel_and_the_end_of_extraction,
    cancel_and_the_flip_of_what_it_waits_for,
    cancel_and_submit,
    cancel_and_claim,
    cancel_and_the_listing,
    pause_and_claim,
    resume_and_claim,
    setting_the_rest_aside_and_resume,
    setting_the_rest_aside_and_cancel,
    setting_the_rest_aside_and_claim,
    two_refused_keys,
    resume_and_the_refused_key_of_another_batch,
    resume_and_the_next_try_of_refused_clean_up,
    pause_and_resume,
    refused_key_and_cancel,
    giving_way_and_finish,
    giving_way_and_resume,
    cutting_up_and_cancel,
    cutting_up_and_pause,
    cutting_up_and_a_newer_version,
    parts_and_cancel,
]
