"""Many threads do everything at once to a few documents."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from vectorflow.domain.retries import GiveUp, Pause, Retry, Split
from vectorflow.errors import BadChunk, Conflict, Unavailable
from vectorflow.ledger import claims, finishing, indexes, releases, submission, uploads
from vectorflow.ledger.claims import Wanted
from vectorflow.ledger.database import Database
from vectorflow.ledger.new_versions import Accepted
from vectorflow.ledger.submission import NewJob
from vectorflow.ports.work import Finished, Lease
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import (
    CAPABILITIES,
    KINDS,
    PIPELINE,
    PretendWorker,
    Workplace,
    document,
    part_of,
)

THREADS = 4
STEPS = 60
NAMES = "abcdef"

OTHER = replace(PIPELINE, index="other")


@dataclass(slots=True)
class Troublemaker:
    """One thread, one random stream: finishes, fails, forgets, submits and deletes."""

    place: Workplace
    name: str
    chance: random.Random
    did: Counter[str] = field(default_factory=Counter[str])

    def run(self) -> None:
        acts: list[Callable[[], None]] = [self._work] * 6
        acts += [self._submit, self._upload, self._upload, self._delete, self._reap, self._forget]
        acts += [self._steer] * 3
        for _ in range(STEPS):
            act = self.chance.choice(acts)
            act()
            self.did[act.__name__] += 1
        if self.name == "0":
            self._reset()

    def _claim(self, limit: int) -> list[Lease]:
        claimed = self.place.database.write_now(
            partial(
                claims.claim,
                owner=self.name,
                wanted=Wanted(self.chance.sample(KINDS, len(KINDS)), CAPABILITIES, limit),
                lease_seconds=30.0,
            )
        )
        return [one.lease for one in claimed]

    def _work(self) -> None:
        leases = self._claim(self.chance.randint(1, 4))
        self.chance.shuffle(leases)
        failed = [lease for lease in leases if self.chance.random() < 0.2]
        for lease in failed:
            self._fail(lease)
        results = [self._result(lease) for lease in leases if lease not in failed]
        if self.chance.random() < 0.3:
            self.place.database.write_now(partial(claims.renew, leases=leases, lease_seconds=30.0))
        self.place.database.write_now(
            partial(finishing.finish, results=results, zombie_seconds=0.01)
        )

    def _fail(self, lease: Lease) -> None:
        again = [Retry(0.0, refund=False), Retry(0.0, refund=True)]
        decision = self.chance.choice([*again, GiveUp(), Pause(), Split()])
        release = partial(releases.release, lease=lease, error=Unavailable("down"))
        self.place.database.write_now(partial(release, decision=decision, zombie_seconds=0.01))

    def _result(self, lease: Lease) -> Finished:
        if lease.kind != "extract":
            failures = {
                version.id: BadChunk("no", position=0)
                for version in lease.versions
                if lease.kind == "embed" and self.chance.random() < 0.1
            }
            return Finished(lease=lease, failures=failures)
        parts = []
        for version in lease.versions:
            first, count = len(version.parts), self.chance.choice([1, 1, 1, 2, 3])
            parts += [
                part_of(
                    version.id,
                    first + number,
                    new_rows=self.chance.choice([0, 1, 3]) if version.base else 3,
                    last=number == count - 1,
                    attached=self._attached() if number == count - 1 else None,
                )
                for number in range(count)
            ]
        return Finished(lease=lease, parts=tuple(parts))

    def _attached(self) -> dict[str, str]:
        """Mostly nothing; else a few files, some of them unchanged, some that nobody reads."""
        if self.chance.random() < 0.7:
            return {}
        some = self.chance.sample("pqr", self.chance.randint(1, 3))
        return {name: self.chance.choice(["x", "y", "?"]) for name in some}

    def _forget(self) -> None:
        """Claim and never come back."""
        self._claim(2)

    def _reap(self) -> None:
        self.place.pass_time()
        self.place.reap()

    def _steer(self) -> None:
        """Do something to one of the newest jobs, if it is in a state for it."""
        newest = "SELECT id FROM jobs ORDER BY id DESC LIMIT 12"
        ((job,), *_) = self.chance.sample(found := rows(self.place.database, newest), len(found))
        assert isinstance(job, int)
        place = self.place
        act = self.chance.choice([place.pause, place.resume, place.cancel, place.retry])
        with suppress(Conflict):
            act(job)
        if self.chance.random() < 0.3:
            place.give_way()

    def _some(self) -> list[str]:
        return self.chance.sample(NAMES, self.chance.randint(1, len(NAMES)))

    def _submit(self) -> None:
        items = [document(name, self.chance.choice("xyz")) for name in self._some()]
        new = self.place.new_job()
        accept = partial(submission.accept, new=new, accepted=items, total=len(items))
        self.place.database.write_now(accept)

    def _upload(self) -> None:
        """Several at once, of two indexes, some with a key, some of one document."""
        sent: list[tuple[NewJob, Accepted]] = []
        for _ in range(self.chance.randint(1, 6)):
            name, text = self.chance.choice(NAMES), self.chance.choice("xyz")
            key = self.chance.choice([None, None, f"{name}{text}{self.chance.randint(0, 5)}"])
            pipeline = PIPELINE if key else self.chance.choice([PIPELINE, OTHER])
            new = self.place.new_job(pipeline=pipeline, key=key)
            sent.append((replace(new, sealed="sealed"), document(name, text)))
        self.place.database.write_now(partial(uploads.take_uploads, uploads=sent))

    def _delete(self) -> None:
        with suppress(Conflict):  # another thread cancelled the job while it was listed
            self.place.delete(*self._some())

    def _reset(self) -> None:
        known = "SELECT id, incarnation FROM indexes WHERE name = 'docs'"
        ((index, incarnation),) = rows(self.place.database, known)
        reset = partial(indexes.reset_index, incarnation=str(incarnation))
        self.place.database.write_now(partial(reset, index=int(str(index))))


@pytest.fixture(params=["sqlite", "postgres", pytest.param("mariadb", marks=pytest.mark.slow)])
def ledger_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_ledger")
    return url


@pytest.mark.parametrize("seed", range(2))
def test_whatever_many_threads_do_the_ledger_stays_in_order(
    place: Workplace, ledger: Database, seed: int
) -> None:
    deadlocks: list[str] = []

    def on_error(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == "40P01":
            deadlocks.append(f"{context.original_exception}: {context.statement}")

    event.listen(ledger.engine, "handle_error", on_error)
    for pipeline in (PIPELINE, OTHER):
        place.submit(dict.fromkeys(NAMES, "first"), pipeline=pipeline)
    crew = [
        Troublemaker(place, str(number), random.Random(seed * THREADS + number))  # noqa: S311
        for number in range(THREADS)
    ]

    run_together([one.run for one in crew])

    assert sum(one.did.total() for one in crew) == THREADS * STEPS
    assert broken_laws(ledger) == {}
    for (job,) in rows(ledger, "SELECT id FROM jobs WHERE state = 'paused'"):
        assert isinstance(job, int)
        place.resume(job)
    for _ in range(6):
        place.pass_time()
        place.reap()
        asyncio.run(PretendWorker(place.worker("last")).run())
    assert broken_laws(ledger, all_done=True) == {}
    assert rows(ledger, "SELECT count(*) FROM jobs")[0] > (10,)
    assert rows(ledger, "SELECT count(*) FROM credentials") == [(0,)]
    assert deadlocks == []


def run_together(targets: list[Callable[[], None]]) -> None:
    """Run in threads; the first error is raised here."""
    errors: list[BaseException] = []

    def guarded(target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[target]) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
