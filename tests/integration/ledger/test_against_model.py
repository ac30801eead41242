"""Anything in any order, compared with a dict: what is served, and what the store holds."""

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.manifests import BaseColumns, ChunkHashes, Part, as_hashes, hash_chunks
from vectorflow.domain.planning import Plan
from vectorflow.errors import (
    BadChunk,
    BinaryContent,
    Conflict,
    IndexLost,
    KeyRefused,
    LeaseLost,
    Throttled,
    TooMuchAtOnce,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ledger import duties, retrying
from vectorflow.ledger.database import Database
from vectorflow.ledger.retention import Retention
from vectorflow.ports.work import Finished, Lease, LeasedVersion, NewAttached, NewPart
from vectorflow.service import retention as duty
from vectorflow.service.retention import forget
from vectorflow.testing.ledgers import broken_laws, rows
from vectorflow.testing.workplace import TENANT, Workplace, attached_file, claim

EXTRACT, EMBED, RETIRE = BatchKind.EXTRACT, BatchKind.EMBED, BatchKind.RETIRE

MAIL = "c"
"""The document in which others are found; the model knows what they are, not how they stand."""

NAMES = ("a", "b", MAIL)
GONE = ""
"""The text of a document that is deleted."""

ERRORS = (
    Throttled("slow", retry_after=0.0),
    Unavailable("down", retry_after=60.0),
    BinaryContent("no"),
    KeyRefused("no"),
    TooMuchAtOnce("no"),
)

NOT_AT_ALL = Retention(versions=-1, attempts=-1, jobs=-1, failures=-1, keys=-1)
"""What ended within the next second is old."""


def found_in(name: str, text: str) -> tuple[NewAttached, ...]:
    """Give the files in a mail: one for each letter, as long as that is frequent; `z` is a riddle.

    So a change of the text changes some, takes some out and leaves some as they are.
    """
    if name != MAIL:
        return ()
    files = {letter: letter * text.count(letter) for letter in sorted(set(text))}
    return tuple(
        attached_file(letter, f"?{kept}" if letter == "z" else kept)
        for letter, kept in files.items()
    )


names = st.sampled_from(NAMES)
texts = st.text(alphabet="xyz", min_size=1, max_size=6)


@dataclass(slots=True)
class Document:
    """A document as the model sees it: its versions by number, each chunked into its letters."""

    texts: list[str] = field(default_factory=list[str])
    live: int | None = None
    open: int | None = None
    waiting: int | None = None

    def accept(self, text: str) -> None:
        self.texts.append(text)
        if self.open is not None:
            self.waiting = len(self.texts)
        else:
            self._begin(len(self.texts))

    def end(self, *, well: bool) -> None:
        """The open version is stored whole, or given up; who waited comes next."""
        if well:
            self.live = self.open
        self.open = None
        number, self.waiting = self.waiting, None
        if number and (self.text(number) == GONE or self.text(number) != self.served):
            self._begin(number)

    def note(self, ends: dict[int, str]) -> None:
        """Learn the states of versions that ended, by number.

        A deletion holds though it gave way to a version, where that is cancelled.
        """
        well = ("live", "retired")
        cancelled = [self.waiting] if ends.get(self.waiting or 0) == "cancelled" else []
        if self.waiting and ends.get(self.waiting, "live") not in well:
            self.waiting = None
        if ends.get(self.open or 0) == "cancelled" and self.waiting is None:
            cancelled.append(self.open)
        for number in sorted(ends):
            if self.open == number:
                self.end(well=ends[number] in well)
        if cancelled and self._was_deleted(cancelled[0] or 0, ends):
            self.accept(GONE)

    def text(self, number: int) -> str:
        return self.texts[number - 1]

    def _was_deleted(self, last: int, ends: dict[int, str]) -> bool:
        """Whether a deletion is all that is left of what came after the live version."""
        for number in range(last - 1, self.live or 0, -1):
            deletes, state = self.text(number) == GONE, ends.get(number)
            if state == "superseded" and deletes:
                return True
            if state != "cancelled" and not (state == "superseded" and not deletes):
                return False
        return False

    @property
    def served(self) -> str:
        return self.text(self.live) if self.live else GONE

    def _begin(self, number: int) -> None:
        if self.text(number) == GONE:
            self.live = number
        else:
            self.open = number


@dataclass(slots=True)
class Row:
    """One chunk of a manifest."""

    id: str
    letter: str
    hashes: tuple[bytes, bytes]
    first_version: int


@dataclass(slots=True)
class World:
    """What is outside the ledger: manifests and the store."""

    manifests: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    store: dict[str, str] = field(default_factory=dict[str, str])
    attached: dict[str, str] = field(default_factory=dict[str, str])
    """Texts of files that were found in others, by blob."""

    def of(self, parts: Sequence[Part]) -> list[Row]:
        return [row for part in parts for row in self.manifests[part.blob]]

    def extract(self, lease: Lease, version: LeasedVersion, text: str, cuts: int) -> list[NewPart]:
        """Plan what is not committed yet, in so many parts."""
        plan = self._plan(lease, version)
        done = len(self.of(version.parts))
        rest = text[done:]
        edges = sorted({round(len(rest) * cut / cuts) for cut in range(1, cuts)} - {0, len(rest)})
        pieces = [rest[start:end] for start, end in zip([0, *edges], [*edges, None], strict=True)]
        made: list[NewPart] = []
        for number, piece in enumerate(pieces, start=len(version.parts)):
            last = number == len(version.parts) + len(pieces) - 1
            made.append(self._part(plan, version, number, done, piece, last=last))
            done += len(piece)
        made[-1] = replace(made[-1], attached=self._found(version, text))
        return made

    def _found(self, version: LeasedVersion, text: str) -> tuple[NewAttached, ...]:
        files = found_in(version.external_id, text)
        kept = {one.source.blob: one.name for one in files if one.source}
        self.attached |= {blob: letter * text.count(letter) for blob, letter in kept.items()}
        return files

    def _plan(self, lease: Lease, version: LeasedVersion) -> Plan:
        base = self.of(version.base)
        plan = Plan(
            incarnation=uuid.UUID(lease.index.incarnation),
            document=version.document,
            version=version.number,
            base=BaseColumns(
                input_hash=as_hashes([row.hashes[0] for row in base]),
                record_hash=as_hashes([row.hashes[1] for row in base]),
                record_id=np.array([row.id for row in base], dtype=object),
                first_version=np.array([row.first_version for row in base], dtype=np.int32),
            ),
        )
        plan.resume([row.id for row in self.of(version.parts)])
        return plan

    def _part(
        self, plan: Plan, version: LeasedVersion, number: int, done: int, piece: str, *, last: bool
    ) -> NewPart:
        hashes: ChunkHashes = hash_chunks(list(piece), prefix="", metadata={}, fields={})
        planned = plan.match(done, hashes)
        blob = f"manifests/{uuid.uuid4().hex}"
        self.manifests[blob] = [
            Row(key, letter, pair, first)
            for key, letter, pair, first in zip(
                planned.record_ids,
                piece,
                zip(*hashes, strict=True),
                planned.first_versions,
                strict=True,
            )
        ]
        part = Part(
            number=number, blob=blob, row_start=0, rows=len(piece), resume_at=done + len(piece)
        )
        new_rows = planned.new_rows(version.number)
        return NewPart(version=version.id, part=part, new_rows=new_rows, last=last)

    def write(self, lease: Lease) -> None:
        for version in lease.versions:
            for row in self.of(version.parts):
                if row.first_version == version.number:
                    self.store[row.id] = row.letter

    def delete(self, lease: Lease) -> None:
        for version in lease.versions:
            kept = {row.id for row in self.of(version.base)}
            for row in self.of(version.parts):
                if row.id not in kept:
                    self.store.pop(row.id, None)


class AgainstModel(RuleBasedStateMachine):
    """Workers that crash, hang and write late, and people who submit and delete meanwhile."""

    make_place: ClassVar[Callable[[Database], Workplace]]
    template: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vectorflow-model-"))
        shutil.copyfile(self.template, self.folder / "ledger.db")
        self.database = Database(f"sqlite:///{self.folder / 'ledger.db'}")
        self.place = type(self).make_place(self.database)
        self.work = self.place.worker("here")
        self.place.index()
        self.world = World()
        self.documents = {name: Document() for name in NAMES}
        self.held: list[Lease] = []
        self.zombies: list[Lease] = []

    @initialize(wanted=st.dictionaries(names, texts))
    def some_are_live(self, wanted: dict[str, str]) -> None:
        if wanted:
            self.submit(wanted)
            self.get_on(rounds=3)

    @rule(wanted=st.dictionaries(names, texts, min_size=1))
    def submit(self, wanted: dict[str, str]) -> None:
        """A text of the mail comes once: the same again depends on what became of all inside."""
        known = self.documents[MAIL].texts
        fresh = {name: text for name, text in wanted.items() if name != MAIL or text not in known}
        if fresh:
            self.place.submit(fresh)
        for name, text in fresh.items():
            self.documents[name].accept(text)

    @rule(wanted=st.lists(names, min_size=1, unique=True))
    def delete(self, wanted: list[str]) -> None:
        self.place.delete(*wanted)
        for name in wanted:
            self.documents[name].accept(GONE)

    @rule(kinds=st.sets(st.sampled_from([EXTRACT, EMBED, RETIRE]), min_size=1))
    def claim(self, kinds: set[BatchKind]) -> None:
        leases = asyncio.run(claim(self.work, *kinds))
        # All, and by number: their order depends on how fast this machine is.
        self.held += sorted(leases, key=lambda lease: lease.batch)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cuts=st.integers(1, 3), fails=st.booleans(), hangs=st.booleans())
    def end_a_batch(self, data: st.DataObject, cuts: int, fails: bool, hangs: bool) -> None:
        """One that hangs has done all its work, and does not come to say so."""
        lease = data.draw(st.sampled_from(self.held))
        result = self._do(lease, cuts, fails=fails and lease.kind is not RETIRE)
        if not hangs:
            assert list(asyncio.run(self.work.finish([result]))) == [True]
            self.held.remove(lease)
            self._note_ends()

    @precondition(lambda self: any(lease.kind is EXTRACT for lease in self.held))
    @rule(data=st.data(), cuts=st.integers(1, 3), share=st.floats(0, 1))
    def stop_in_the_middle(self, data: st.DataObject, cuts: int, share: float) -> None:
        """Commit some parts, and hand the rest back."""
        extracts = [lease for lease in self.held if lease.kind is EXTRACT]
        lease = data.draw(st.sampled_from(extracts))
        parts = self._do(lease, cuts, fails=False).parts
        for part in parts[: round(share * len(parts))]:
            asyncio.run(self.work.checkpoint(lease, parts=[part]))
        asyncio.run(self.work.release(lease, None))
        self.held.remove(lease)
        self._note_ends()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), error=st.sampled_from(ERRORS))
    def give_back(self, data: st.DataObject, error: VectorFlowError) -> None:
        lease = data.draw(st.sampled_from(self.held))
        asyncio.run(self.work.release(lease, error))
        self.held.remove(lease)
        self._note_ends()

    @rule(hung=st.sets(st.integers(0, 4)))
    def an_hour_passes(self, hung: set[int]) -> None:
        """Those who hang lose their leases; what they send may still arrive within this hour."""
        self.place.pass_time()
        alive = [lease for place, lease in enumerate(self.held) if place not in hung]
        silent = [lease for place, lease in enumerate(self.held) if place in hung]
        self.held = list(asyncio.run(self.work.renew(alive)))
        open_batches = self._open_batches()
        self.place.reap()
        self.zombies = [lease for lease in silent if lease.batch in open_batches]
        self.place.give_way()
        self._note_ends()

    @rule()
    def a_month_passes(self) -> None:
        """Nobody writes any more who lost a lease; what is over is forgotten, and its files too."""
        self.held = list(asyncio.run(self.work.renew(self.held)))
        self.zombies = []
        asyncio.run(forget(self.database, NOT_AT_ALL))
        needed = self.database.read_now(duties.referenced_blobs)
        for blob in self.world.manifests.keys() - needed:
            del self.world.manifests[blob]

    @rule(rounds=st.integers(1, 3))
    def get_on(self, rounds: int, *kinds: BatchKind) -> None:
        """Do all that is ready, and what comes of it."""
        for _ in range(rounds):
            if not (leases := asyncio.run(claim(self.work, *kinds))):
                return
            results = [self._do(lease, 1, fails=False) for lease in leases]
            assert all(asyncio.run(self.work.finish(results)))
            self._note_ends()

    @rule(
        wanted=st.dictionaries(names, texts, min_size=1),
        kind=st.sampled_from([EXTRACT, EMBED]),
        times=st.sampled_from([3, 6]),
        stored=st.booleans(),
    )
    def workers_die(
        self, wanted: dict[str, str], kind: BatchKind, times: int, stored: bool
    ) -> None:
        """One after the other over the same work: it is cut up after three, later given up."""
        self.submit(wanted)
        if kind is EMBED:
            self.get_on(1, EXTRACT)
        for _ in range(times):
            for lease in asyncio.run(claim(self.work, kind)):
                if stored and kind is EMBED:
                    self.world.write(lease)
            self.place.pass_time()
            self.held = list(asyncio.run(self.work.renew(self.held)))
            self.place.reap()
        self.zombies = []  # their hour is over
        self._note_ends()

    @rule()
    def discard(self) -> None:
        self.database.write_now(partial(retrying.discard, tenant=TENANT))

    @precondition(lambda self: self._jobs("running"))
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        self.place.pause(data.draw(st.sampled_from(self._jobs("running"))))

    @precondition(lambda self: self._jobs("paused"))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        self.place.resume(data.draw(st.sampled_from(self._jobs("paused"))))

    @precondition(lambda self: self._jobs("running", "paused"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Workers learn of it at their next renewal, and may have written before."""
        self._cancel(data.draw(st.sampled_from(self._jobs("running", "paused"))))

    @rule()
    def think_again_about_a_deletion(self) -> None:
        """What is deleted by then stays so, with all that is inside of it."""
        job = self.place.delete(MAIL)
        self.documents[MAIL].accept(GONE)
        self._cancel(job)

    def _cancel(self, job: int) -> None:
        with suppress(Conflict):  # only its clean-up is left, or not even that
            self.place.cancel(job)
        leased = rows(self.database, "SELECT id FROM batches WHERE state = 'leased'")
        self.zombies += [lease for lease in self.held if (lease.batch,) not in leased]
        self.held = [lease for lease in self.held if (lease.batch,) in leased]
        self._note_ends()

    @precondition(lambda self: self._jobs_with_failures())
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self._jobs_with_failures()))
        before = self._newest()
        with suppress(Conflict):
            self.place.retry(job)
        for name, number in self._newest().items():
            if name in self.documents and number != before[name]:
                document = self.documents[name]
                document.accept(document.text(before[name]))

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def a_zombie_writes(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.zombies))
        result = self._do(lease, 1, fails=False)
        assert list(asyncio.run(self.work.finish([result]))) == [False]
        with pytest.raises(LeaseLost):
            asyncio.run(self.work.checkpoint(lease, vectors="vectors/zombie"))

    @precondition(lambda self: any(lease.kind is EMBED for lease in self.held))
    @rule()
    def the_store_loses_the_index(self) -> None:
        lease = next(lease for lease in self.held if lease.kind is EMBED)
        self.world.store.clear()
        asyncio.run(self.work.release(lease, IndexLost("gone")))
        self.held, self.zombies = [], []
        for document in self.documents.values():
            document.live = None

    @invariant()
    def the_ledger_is_in_order(self) -> None:
        assert broken_laws(self.database) == {}

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        expected = {
            name: (one.live, one.open, one.waiting)
            for name, one in self.documents.items()
            if one.texts
        }
        assert self._numbers() == expected

    def teardown(self) -> None:
        try:
            self._finish_everything()
            self.the_ledger_says_what_the_model_says()
            assert broken_laws(self.database, all_done=True) == {}
            assert self.world.store == self._expected_store()
            self._attachments_fit()
        finally:
            self.database.close()
            shutil.rmtree(self.folder)

    def _do(self, lease: Lease, cuts: int, *, fails: bool) -> Finished:
        """Do the work of a batch; the first document of one that fails is bad."""
        bad = lease.versions[:1] if fails else ()
        parts: list[NewPart] = []
        for version in lease.versions:
            if lease.kind is EXTRACT and version not in bad:
                text = self._text(version)
                parts += self.world.extract(lease, version, text, cuts)
        if lease.kind is EMBED:
            self.world.write(lease)
        if lease.kind is RETIRE:
            self.world.delete(lease)
        failures = {version.id: BadChunk("no", position=0) for version in bad}
        return Finished(lease=lease, parts=tuple(parts), failures=failures)

    def _text(self, version: LeasedVersion) -> str:
        if known := self.documents.get(version.external_id):
            return known.text(version.number)
        assert version.source is not None
        return self.world.attached[version.source.blob]

    def _jobs(self, *states: str) -> list[int]:
        listed = ", ".join(f"'{state}'" for state in states)
        query = f"SELECT id FROM jobs WHERE state IN ({listed}) ORDER BY id"  # noqa: S608 - ours
        return [int(str(job)) for (job,) in rows(self.database, query)]

    def _jobs_with_failures(self) -> list[int]:
        query = """SELECT DISTINCT job_id FROM versions
            WHERE state = 'failed' AND blob IS NOT NULL ORDER BY job_id"""
        failed = {int(str(job)) for (job,) in rows(self.database, query)}
        return [job for job in self._jobs("running", "partial", "failed") if job in failed]

    def _newest(self) -> dict[str, int]:
        found = rows(self.database, "SELECT external_id, last_version FROM documents")
        return {str(name): int(str(number)) for name, number in found}

    def _finish_everything(self) -> None:
        for job in self._jobs("paused"):
            self.place.resume(job)
        for _ in range(6):
            self.place.pass_time()
            self.place.reap()
            self.get_on(rounds=12)

    def _note_ends(self) -> None:
        """Tell the model which versions ended, and how; the rest it knows itself."""
        found = rows(
            self.database,
            """SELECT d.external_id, v.number, CASE WHEN j.state = 'cancelled' AND v.blob IS NULL
                AND v.state = 'superseded' THEN 'cancelled' ELSE v.state END
            FROM versions v JOIN documents d ON d.id = v.document_id JOIN jobs j ON j.id = v.job_id
            WHERE v.state NOT IN ('indexing', 'waiting') ORDER BY v.number""",
        )
        ends: dict[str, dict[int, str]] = {name: {} for name in NAMES}
        for name, number, state in found:
            if name in self.documents:
                ends[str(name)][int(str(number))] = str(state)
        for name, document in self.documents.items():
            document.note(ends[name])

    def _numbers(self) -> dict[str, tuple[int | None, int | None, int | None]]:
        found = rows(
            self.database,
            """SELECT d.external_id, live.number, opened.number, next.number FROM documents d
            LEFT JOIN versions live ON live.id = d.live_version
            LEFT JOIN versions opened ON opened.id = d.open_version
            LEFT JOIN versions next ON next.id = d.next_version""",
        )
        return {str(name): tuple(numbers) for name, *numbers in found if name in self.documents}

    def _open_batches(self) -> set[object]:
        """Batches whose documents are not ended: only of these a worker is not told to stop."""
        found = rows(
            self.database,
            """SELECT b.id FROM batches b LEFT JOIN versions v ON v.id = b.version_id
            WHERE b.state = 'leased' AND (v.id IS NULL OR v.state = 'indexing')""",
        )
        return {batch for (batch,) in found}

    def _expected_store(self) -> dict[str, str]:
        parts = rows(
            self.database,
            """SELECT d.external_id, v.blob, p.blob FROM documents d
            JOIN versions v ON v.id = d.live_version
            JOIN parts p ON p.version_id = d.live_version ORDER BY d.id, p.number""",
        )
        content = {name: list[Row]() for name in NAMES}
        served = {name: document.served for name, document in self.documents.items()}
        for name, source, blob in parts:
            content.setdefault(str(name), []).extend(self.world.manifests[str(blob)])
            if name not in self.documents:
                served[str(name)] = self.world.attached[str(source)]
        for name, chunks in content.items():
            assert "".join(row.letter for row in chunks) == served[name]
        return {row.id: row.letter for chunks in content.values() for row in chunks}

    def _attachments_fit(self) -> None:
        """The mail has the attachments of its live version, unless another one took them last."""
        mail = self.documents[MAIL]
        taken = rows(
            self.database,
            f"""SELECT v.number FROM versions v JOIN documents d ON d.id = v.document_id
            WHERE d.external_id = '{MAIL}' AND v.parts_total IS NOT NULL
            AND v.blob IS NOT NULL AND v.number > {mail.live or 0}""",  # noqa: S608 - ours
        )
        if taken:
            return
        newest = rows(
            self.database,
            """SELECT a.external_id, a.deleted_at IS NULL, live.blob, v.state FROM documents a
            JOIN documents d ON d.id = a.parent_id
            JOIN versions v ON v.document_id = a.id AND v.number = a.last_version
            LEFT JOIN versions live ON live.id = a.live_version""",
        )
        files = {f"{MAIL}//{one.name}": one for one in found_in(MAIL, mail.served)}
        for name, there, blob, state in newest:
            file = files.pop(str(name), None)
            if file is None:
                assert not there or blob is None
            elif state in ("live", "superseded"):
                assert file.source
                assert blob == file.source.blob
        assert not files


def test_whatever_happens_in_whatever_order_the_store_holds_what_is_live(
    sqlite_ledger: str, place_of: Callable[[Database], Workplace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "PAUSE_SECONDS", 0.0)

    class Machine(AgainstModel):
        make_place = staticmethod(place_of)
        template = Path(sqlite_ledger.removeprefix("sqlite:///"))

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
