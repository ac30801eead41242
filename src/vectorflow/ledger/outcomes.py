"""The end of document versions: flip, failure, and waking the version that waits.

Callers hold the locks of the batches and versions; here documents are locked, in order of id, and
jobs last, by the tally. Changes are gathered and written in bulk.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from vectorflow.domain.jobs import BatchKind, BatchState, VersionState
from vectorflow.errors import Transient, VectorFlowError
from vectorflow.ledger import clock
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import batches, documents, parts, versions
from vectorflow.ledger.tally import Tally

GROUP_DOCUMENTS = 256
"""Documents of one batch at most."""

DEAD_LETTER_MESSAGE = 1000
"""Characters of an error's message that are kept."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a batch belongs: versions of one place share batches."""

    tenant: str
    job: int
    index: int
    pipeline: int


def failure_json(error: VectorFlowError, *, stage: str, attempts: int) -> dict[str, object]:
    """Write a dead letter; `chunk` is the position of the chunk to blame, if one is."""
    return {
        "code": error.code,
        "message": error.message[:DEAD_LETTER_MESSAGE],
        "fix": error.fix,
        "stage": stage,
        "retryable": isinstance(error, Transient),
        "attempts": attempts,
        "chunk": getattr(error, "position", None),
    }


class Outcomes:
    """Ends versions inside one transaction; `write` comes last."""

    def __init__(self, connection: Connection, tally: Tally, *, zombie_seconds: float) -> None:
        self._connection = connection
        self._tally = tally
        self._zombie_seconds = zombie_seconds
        """A lease plus a store call: the longest a lost worker may still write."""
        self._ended: list[dict[str, object]] = []
        self._owners: list[dict[str, object]] = []
        self._retiring: list[tuple[Place, Row[Any]]] = []
        self._to_extract: list[tuple[Place, int]] = []

    def end(self, rows: Sequence[Row[Any]], failed: Mapping[int, dict[str, object]]) -> None:
        """Flip versions that are stored whole, and end those in `failed` (dead letters by id).

        All rows are versions in state `indexing`, as they are now, locked by the caller.
        """
        owners = _locked_documents(self._connection, (row.document_id for row in rows))
        bases = self._versions(row.base_version for row in rows)
        for row in sorted(rows, key=lambda row: row.document_id):
            document = owners[row.document_id]
            if row.id in failed:
                self._fail(document, row, failed[row.id])
            elif document.live_version != row.base_version:
                self._plan_again(document, row)
            else:
                self.set_live(document, row, bases.get(row.base_version))
                self._tally.add(row.job_id, docs_done=1, records_new=row.new_rows)
        self._wake([document for document in owners.values() if document.next_version])

    def set_live(self, document: Row[Any], row: Row[Any], old: Row[Any] | None) -> None:
        """Make a version the one that searches serve, and retire the one it replaces.

        A version without a blob is a deletion: its manifest is empty.
        """
        self._own(document, live=row.id, opened=None, deleted=row.blob is None)
        self._close(row.id, VersionState.LIVE)
        if old is None:
            return
        self._close(old.id, VersionState.RETIRED)
        vanished = old.rows - (row.rows - row.new_rows)
        self._tally.add(row.job_id, records_old=vanished)
        if vanished or old.lost:
            self._retiring.append((_place(document, row), old))

    def extract(self, place: Place, version: int) -> None:
        """Put a version into an extract batch of its place."""
        self._to_extract.append((place, version))

    def write(self) -> None:
        """Write what was gathered, make the batches it calls for, and tally the jobs."""
        self._flush()
        self._make_extract_batches()
        self._make_retire_batches()
        self._tally.write(self._connection)

    def _fail(self, document: Row[Any], row: Row[Any], error: dict[str, object]) -> None:
        """End a version that cannot be embedded: the version before it stays live."""
        self._own(document, live=document.live_version, opened=None, deleted=None)
        self._close(row.id, VersionState.FAILED, error)
        self._tally.add(row.job_id, docs_failed=1)
        if row.rows:
            self._retiring.append((_place(document, row), row))

    def _plan_again(self, document: Row[Any], row: Row[Any]) -> None:
        """Another version went live first: start this one anew against it."""
        restart_versions(self._connection, [row.id], base=document.live_version)
        self.extract(_place(document, row), row.id)

    def _wake(self, owners: Sequence[Row[Any]]) -> None:
        """Open the versions that waited for the ones that ended."""
        if not owners:
            return
        self._flush()
        fresh = _locked_documents(self._connection, (owner.id for owner in owners))
        waiting = self._versions(owner.next_version for owner in owners)
        serving = self._versions(owner.live_version for owner in fresh.values())
        for owner in fresh.values():
            if owner.open_version is None and owner.next_version in waiting:
                row = waiting[owner.next_version]
                self._open(owner, row, serving.get(owner.live_version))

    def _open(self, document: Row[Any], row: Row[Any], live: Row[Any] | None) -> None:
        if live and (live.raw_hash, live.recipe_hash) == (row.raw_hash, row.recipe_hash):
            self._own(document, live=live.id, opened=None, waiting=None, deleted=None)
            self._close(row.id, VersionState.SUPERSEDED)
            self._tally.add(row.job_id, docs_done=1)
            return
        base = live.id if live else None
        self._connection.execute(
            update(versions)
            .where(versions.c.id == row.id)
            .values(state=VersionState.INDEXING, base_version=base)
        )
        if row.blob is None:
            self.set_live(document, row, live)
            self._owners[-1]["waiting"] = None
            self._tally.add(row.job_id, docs_done=1)
        else:
            self._own(document, live=base, opened=row.id, waiting=None, deleted=None)
            self.extract(_place(document, row), row.id)

    def _own(
        self,
        document: Row[Any],
        *,
        live: int | None,
        opened: int | None,
        deleted: bool | None,
        waiting: int | None = -1,
    ) -> None:
        """Note what a document points to; `deleted` and `waiting` stay as they are by default."""
        was_deleted = document.deleted_at is not None
        self._owners.append(
            {
                "key": document.id,
                "live": live,
                "opened": opened,
                "waiting": document.next_version if waiting == -1 else waiting,
                "deleted": was_deleted if deleted is None else deleted,
            }
        )

    def _close(
        self, version: int, state: VersionState, error: dict[str, object] | None = None
    ) -> None:
        self._ended.append({"key": version, "to": state, "reason": error})

    def _flush(self) -> None:
        if self._ended:
            self._connection.execute(
                update(versions)
                .where(versions.c.id == bindparam("key"))
                .values(
                    state=bindparam("to"),
                    error=bindparam("reason", type_=versions.c.error.type),
                    batch_id=None,
                    ended_at=clock.now(),
                ),
                self._ended,
            )
        for deleted in (True, False):
            rows = [row for row in self._owners if row["deleted"] is deleted]
            if rows:
                self._write_owners(rows, deleted=deleted)
        self._ended, self._owners = [], []

    def _write_owners(self, rows: list[dict[str, object]], *, deleted: bool) -> None:
        self._connection.execute(
            update(documents)
            .where(documents.c.id == bindparam("key"))
            .values(
                live_version=bindparam("live"),
                open_version=bindparam("opened"),
                next_version=bindparam("waiting"),
                deleted_at=clock.now() if deleted else None,
            ),
            [{name: row[name] for name in ("key", "live", "opened", "waiting")} for row in rows],
        )

    def _make_extract_batches(self) -> None:
        groups: defaultdict[Place, list[int]] = defaultdict(list)
        for place, version in self._to_extract:
            groups[place].append(version)
        for place, ids in groups.items():
            for some in slices(ids, GROUP_DOCUMENTS):
                hold(self._connection, some, make_batch(self._connection, place, BatchKind.EXTRACT))

    def _make_retire_batches(self) -> None:
        """Batches for the versions of a place, and one each, later, for those with zombies."""
        groups: defaultdict[Place, list[int]] = defaultdict(list)
        busy = self._with_open_batches([row.id for _, row in self._retiring])
        for place, row in self._retiring:
            groups[place].append(row.id)
            if row.lost or row.id in busy:
                self._tally.add(place.job, cleanup_open=1)
                make_batch(
                    self._connection,
                    place,
                    BatchKind.RETIRE,
                    version=row.id,
                    delay=self._zombie_seconds,
                )
        for place, ids in groups.items():
            for some in slices(ids, GROUP_DOCUMENTS):
                self._tally.add(place.job, cleanup_open=1)
                hold(self._connection, some, make_batch(self._connection, place, BatchKind.RETIRE))

    def _with_open_batches(self, ids: Sequence[int]) -> set[int]:
        """Versions whose other parts may be with a worker that does not know yet."""
        busy: set[int] = set()
        for some in slices(ids):
            found = self._connection.execute(
                select(batches.c.version_id).where(
                    batches.c.version_id.in_(some),
                    batches.c.state.in_([BatchState.READY, BatchState.LEASED]),
                )
            )
            busy.update(found.scalars())
        return busy

    def _versions(self, ids: Iterable[int | None]) -> dict[int, Row[Any]]:
        wanted = {key for key in ids if key is not None}
        if not wanted:
            return {}
        rows = self._connection.execute(select(versions).where(versions.c.id.in_(wanted)))
        return {row.id: row for row in rows}


def make_batch(
    connection: Connection,
    place: Place,
    kind: BatchKind,
    *,
    version: int | None = None,
    part: int | None = None,
    delay: float = 0.0,
) -> int:
    """Insert a ready batch and give its id; it can be claimed after `delay` seconds."""
    row = _ready(place, kind, version=version, part=part)
    result = connection.execute(insert(batches).values(**row, run_at=clock.now() + delay))
    return inserted_id(result.inserted_primary_key)


class NewBatch(NamedTuple):
    """A batch to make: whole documents of a place, or one part of one."""

    place: Place
    version: int | None = None
    part: int | None = None


def make_batches(connection: Connection, new: Sequence[NewBatch], kind: BatchKind) -> list[int]:
    """Insert ready batches of a kind, and give their ids in order."""
    if not new:
        return []
    # Not asked for in order: SQLite would be given them one by one. Those of a key are alike.
    made = connection.execute(
        insert(batches)
        .values(run_at=clock.now())
        .returning(batches.c.id, batches.c.job_id, batches.c.version_id, batches.c.part),
        [_ready(one.place, kind, version=one.version, part=one.part) for one in new],
    )
    ids: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
    for row in made:
        ids[(row.job_id, row.version_id, row.part)].append(row.id)
    return [ids[(one.place.job, one.version, one.part)].pop() for one in new]


def hold_each(connection: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """Put single versions into batches of their own: version and batch of each."""
    if pairs:
        connection.execute(
            update(versions)
            .where(versions.c.id == bindparam("key"))
            .values(batch_id=bindparam("batch")),
            [{"key": version, "batch": batch} for version, batch in pairs],
        )


def _ready(
    place: Place, kind: BatchKind, *, version: int | None = None, part: int | None = None
) -> dict[str, object]:
    return {
        "tenant": place.tenant,
        "job_id": place.job,
        "index_id": place.index,
        "pipeline_id": place.pipeline,
        "kind": kind,
        "version_id": version,
        "part": part,
        "state": BatchState.READY,
        "lane": 0,
        "virtual_time": 0.0,
        "lease_epoch": 0,
        "attempt": 0,
        "lost": 0,
        "vectors": [],
    }


def hold(connection: Connection, ids: Sequence[int], batch: int) -> None:
    """Put versions into a group batch."""
    connection.execute(update(versions).where(versions.c.id.in_(ids)).values(batch_id=batch))


def restart_versions(connection: Connection, ids: Sequence[int], *, base: int | None) -> None:
    """Forget what was committed of open versions, to plan them anew against `base`."""
    for some in slices(ids):
        connection.execute(delete(parts).where(parts.c.version_id.in_(some)))
        connection.execute(
            update(versions)
            .where(versions.c.id.in_(some))
            .values(
                base_version=base, parts_total=None, parts_done=0, rows=0, new_rows=0, batch_id=None
            )
        )


def inserted_id(key: Sequence[object] | None) -> int:
    """Read the key of a row just inserted; every table that asks has an integer key."""
    if key is None or not isinstance(key[0], int):
        message = "the database gave no key for a new row"
        raise TypeError(message)
    return key[0]


def _place(document: Row[Any], row: Row[Any]) -> Place:
    return Place(row.tenant, row.job_id, document.index_id, row.pipeline_id)


def _locked_documents(connection: Connection, ids: Iterable[int]) -> dict[int, Row[Any]]:
    wanted = set(ids)
    if not wanted:
        return {}
    rows = connection.execute(
        select(documents)
        .where(documents.c.id.in_(wanted))
        .order_by(documents.c.id)
        .with_for_update()
    )
    return {row.id: row for row in rows}
