"""What a scene is made of: states to bring a ledger to, and transactions to interleave."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from tests.integration.ledger.interleavings.stage import Transaction
from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import BadChunk
from vectorflow.ledger import claims, finishing, losses, submission, transitions
from vectorflow.ledger.claims import Wanted
from vectorflow.ledger.new_versions import GROUP_BYTES
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.workplace import (
    CAPABILITIES,
    KINDS,
    TENANT,
    PretendWorker,
    Workplace,
    claim,
    document,
    part_of,
)

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE


def claim_now(limit: int, *kinds: BatchKind) -> Callable[[Connection], list[Lease]]:
    def claim(connection: Connection) -> list[Lease]:
        claimed = claims.claim(
            connection,
            owner="here",
            wanted=Wanted(kinds or KINDS, CAPABILITIES, limit),
            lease_seconds=30.0,
        )
        return [one.lease for one in claimed]

    return claim


def finish(*results: Finished) -> Transaction:
    return partial(finishing.finish, results=results, zombie_seconds=60.0)


def reap(connection: Connection) -> int:
    return losses.reap(connection, zombie_seconds=60.0)


def submit(place: Workplace, *names: str, text: str = "text") -> Transaction:
    items = [document(name, text) for name in names]
    return partial(submission.accept, new=place.new_job(), accepted=items, total=len(items))


def delete(place: Workplace, *names: str) -> Transaction:
    job = place.database.write_now(partial(submission.start_job, new=place.new_job())).job

    def transaction(connection: Connection) -> int:
        submission.delete_documents(connection, job, names, zombie_seconds=60.0)
        submission.end_listing(connection, job)
        return job

    return transaction


def worker(place: Workplace) -> PretendWorker:
    return PretendWorker(place.worker("setup"))


def live(place: Workplace, *names: str, text: str = "one") -> int:
    """Bring documents to life, each in a batch of its own."""
    job = 0
    for name in names:
        job = place.submit({name: text})
    asyncio.run(worker(place).run())
    return job


def leases(place: Workplace, *kinds: BatchKind, limit: int = 100) -> Sequence[Lease]:
    return asyncio.run(claim(place.worker("here"), *kinds, limit=limit))


def extracted(place: Workplace, *names: str, text: str = "two") -> int:
    """Submit documents in batches of their own, and extract them."""
    job = 0
    for name in names:
        job = place.submit({name: text})
    asyncio.run(worker(place).run(EXTRACT))
    return job


def long_document(place: Workplace, parts: int = 2) -> Sequence[Lease]:
    """Give leases of the embed batches of all parts of one document."""
    place.submit({"long": "text"})
    (lease,) = leases(place)
    version = lease.versions[0].id
    made = tuple(part_of(version, number, last=number == parts - 1) for number in range(parts))
    place.database.write_now(finish(Finished(lease=lease, parts=made)))
    return leases(place, EMBED)


def bad(lease: Lease) -> Finished:
    failures = {version.id: BadChunk("no", position=0) for version in lease.versions}
    return Finished(lease=lease, failures=failures)


def steer(transition: Callable[..., object], job: int, **given: object) -> Transaction:
    return partial(transition, tenant=TENANT, job=job, **given)


def cancel(job: int) -> Transaction:
    return steer(transitions.cancel, job, zombie_seconds=60.0)


def one_failed(place: Workplace) -> tuple[int, Lease]:
    """Give a job of which one document failed, and the lease of the other."""
    new, first = place.new_job(), document("a", "text")
    assert first.source is not None
    long = replace(first, source=replace(first.source, length=GROUP_BYTES + 1))  # travels alone
    items = [long, document("b", "text")]
    accept = partial(submission.accept, new=new, accepted=items, total=2)
    job = place.database.write_now(accept)
    one, two = leases(place)
    place.database.write_now(finish(bad(one)))
    return job, two


def with_inside(lease: Lease, **inside: str) -> Finished:
    """End the extraction of mails."""
    parts = tuple(part_of(version.id, attached=inside) for version in lease.versions)
    return Finished(lease=lease, parts=parts)


def live_mails(place: Workplace, *names: str, **inside: str) -> None:
    """Bring mails to life, the last one first, so that attachments of it come before others."""
    mailer = worker(place)
    mailer.attached = dict.fromkeys(names, inside)
    for name in reversed(names):
        place.submit({name: "one"})
        asyncio.run(mailer.run())
