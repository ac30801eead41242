"""The end of document versions: flip, failure, and waking the version that waits.

Callers hold the locks of the batches and versions; here documents are locked, in order of id, and
jobs last, by the tally. Changes are gathered and written in bulk.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update

from vectorflow.domain.jobs import VersionState
from vectorflow.ledger import clock
from vectorflow.ledger.columns import IDS
from vectorflow.ledger.database import Overtaken
from vectorflow.ledger.each import update_each
from vectorflow.ledger.families import ids_inside, locked_inside
from vectorflow.ledger.new_batches import Place
from vectorflow.ledger.new_versions import (
    Home,
    deletion,
    groups,
    insert_versions,
    restart_versions,
)
from vectorflow.ledger.next_batches import make_extract_batches, make_retire_batches
from vectorflow.ledger.owed import gave_way, hand_over, owed
from vectorflow.ledger.serving import unsettled
from vectorflow.ledger.tables import documents, versions
from vectorflow.ledger.tally import Tally

_VERSIONS = select(versions).where(versions.c.id.in_(IDS))

_LOCK = select(documents).where(documents.c.id.in_(IDS)).order_by(documents.c.id).with_for_update()

_DOOMED = (
    select(documents.c.id)
    .join(versions, versions.c.id == documents.c.next_version, isouter=True)
    .where(documents.c.id.in_(IDS))
    .where(
        documents.c.deleted_at.is_not(None)
        | (documents.c.next_version.is_not(None) & versions.c.blob.is_(None))
    )
)
"""Documents of which a deletion waits, or that were deleted and are about to come back."""


class _Pointers(NamedTuple):
    """What a document points to from now on."""

    live: int | None
    opened: int | None
    waiting: int | None
    deleted: bool


class Outcomes:
    """Ends versions inside one transaction; `write` comes last."""

    def __init__(self, connection: Connection, tally: Tally, *, zombie_seconds: float) -> None:
        self._connection = connection
        self._tally = tally
        self._zombie_seconds = zombie_seconds
        """A lease plus a store call: the longest a lost worker may still write."""
        self._ended: dict[int, dict[str, object]] = {}
        self._owners: dict[int, _Pointers] = {}
        self._retiring: list[tuple[Place, Row[Any]]] = []
        self._to_extract: list[tuple[Place, Row[Any]]] = []
        self._deleted: defaultdict[Home, list[int]] = defaultdict(list)
        """Documents inside of which all is to be deleted."""
        self._to_delete: defaultdict[Home, list[int]] = defaultdict(list)
        self._cancelled: set[int] = set()
        """Jobs that are to have nothing open."""

    def end(self, rows: Sequence[Row[Any]], failed: Mapping[int, dict[str, object]]) -> None:
        """Flip versions that are stored whole, and end those in `failed` (dead letters by id).

        All rows are versions in state `indexing`, as they are now, locked by the caller.
        """
        owners = self._lock_owners({row.document_id for row in rows})
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
        self._wake([owners[row.document_id] for row in rows])

    def supersede(self, rows: Sequence[Row[Any]]) -> None:
        """End open versions unfinished, locked by the caller, in favour of those that wait.

        Raises:
            Overtaken: For one of them none waits any more.
        """
        owners = self._lock_owners({row.document_id for row in rows})
        for row in rows:
            owner = owners[row.document_id]
            if owner.next_version is None:
                raise Overtaken
            self._give_up(owner, row, VersionState.SUPERSEDED)
            self._tally.add(row.job_id, docs_done=1)
        self._wake(list(owners.values()))

    def cancel(self, rows: Sequence[Row[Any]], waiting: Sequence[Row[Any]]) -> int:
        """End open versions unfinished, and with them `waiting` ones: what was live stays so.

        What was deleted stays deleted with all that is inside of it, also where the deletion only
        waited and gave way to one of these. The open ones are locked by the caller; those that
        waited are left out if they do no more.
        Gives how many of those stay, since they are owed: they open now, or wait in another job.
        """
        again = [row.document_id for row in gave_way(self._connection, (*rows, *waiting))]
        owners = self._lock_owners({row.document_id for row in (*rows, *waiting)}, again)
        self._cancelled.update(row.job_id for row in (*rows, *waiting))
        still = [row for row in waiting if owners[row.document_id].next_version == row.id]
        kept = owed(self._connection, owners, still)
        dropped = {row.document_id: row for row in still if row.id not in kept}
        ended = {row.document_id for row in rows}
        left = {key: owners[key].next_version for key in ended} | dict.fromkeys(dropped)
        for row in rows:
            owner = owners[row.document_id]
            self._give_up(owner, row, VersionState.CANCELLED, waiting=left[owner.id])
        for row in dropped.values():
            self._close(row.id, VersionState.CANCELLED)
            if row.document_id not in ended:
                self._keep(owners[row.document_id])
        last = [row for row in rows if left[row.document_id] is None]
        self._stay_deleted(owners, last, list(dropped.values()))
        self._hand_over(owners, [r for r in still if r.id in kept and r.document_id not in ended])
        self._wake([owners[row.document_id] for row in rows])
        return len(kept)

    def delete(self, home: Home, owners: Sequence[Row[Any]]) -> None:
        """Give documents a version with an empty manifest each, live at once where none is open.

        Their rows are as they are now, locked by the caller.
        """
        by_name = {owner.external_id: owner for owner in owners}
        for group in groups([deletion(name, owner.parent_id) for name, owner in by_name.items()]):
            some = [by_name[item.external_id] for item in group]
            homes = self._homes(home, some)
            placed = insert_versions(self._connection, homes, group, some, self._tally)
            made = self._versions(key for state, key in placed if state is VersionState.INDEXING)
            lives = self._versions(owner.live_version for owner in some)
            by_id = {owner.id: owner for owner in some}
            for row in made.values():
                owner = by_id[row.document_id]
                self.set_live(owner, row, lives.get(owner.live_version))
            self._tally.add(home.job, docs_done=len(made))
            for one in homes:
                self._tally.add(one.job, documents_gone=1)

    def set_live(self, document: Row[Any], row: Row[Any], old: Row[Any] | None) -> None:
        """Make a version the one that searches serve, and retire the one it replaces.

        A version without a blob is a deletion: its manifest is empty.
        """
        self._own(document, live=row.id, opened=None, deleted=row.blob is None)
        self._close(row.id, VersionState.LIVE)
        if row.blob is None:
            self._deleted[_home(document, row)].append(document.id)
        if old is None:
            return
        self._close(old.id, VersionState.RETIRED)
        vanished = old.rows - (row.rows - row.new_rows)
        self._tally.add(row.job_id, records_old=vanished)
        if vanished or old.lost:
            self._retiring.append((_place(document, row), old))

    def extract(self, place: Place, row: Row[Any]) -> None:
        """Put a version into an extract batch of its place."""
        self._to_extract.append((place, row))

    def write(self) -> None:
        """Write what was gathered, make the batches it calls for, and tally the jobs."""
        while self._deleted or self._to_delete:
            self._delete_more()
        self.flush()
        make_extract_batches(self._connection, self._to_extract)
        zombies = self._zombie_seconds
        make_retire_batches(self._connection, self._tally, self._retiring, zombie_seconds=zombies)
        self._tally.write(self._connection)

    def flush(self) -> None:
        """Write what became of versions and documents so far, before it is read again."""
        ended = list(self._ended.values())
        update_each(self._connection, versions, ended, batch_id=None, ended_at=clock.now())
        for deleted in (True, False):
            some = {key: one for key, one in self._owners.items() if one.deleted is deleted}
            self._write_owners(some, deleted=deleted)
        self._ended, self._owners = {}, {}

    def _lock_owners(self, ids: set[int], doomed: Iterable[int] = ()) -> dict[int, Row[Any]]:
        """Lock documents together with what is inside of those that are about to be deleted."""
        if not ids:
            return {}
        doomed = {*doomed, *self._connection.execute(_DOOMED, {"ids": ids}).scalars()}
        return _locked_documents(self._connection, ids | ids_inside(self._connection, doomed))

    def _delete_more(self) -> None:
        """Delete the attachments of documents that are deleted now, and what is to be so again."""
        deleted, self._deleted = self._deleted, defaultdict(list)
        again, self._to_delete = self._to_delete, defaultdict(list)
        self.flush()
        for home, ids in again.items():
            self.delete(home, list(_locked_documents(self._connection, ids).values()))
        for home, ids in deleted.items():
            self.flush()
            self.delete(home, locked_inside(self._connection, ids))

    def _homes(self, home: Home, owners: Sequence[Row[Any]]) -> list[Home]:
        """Where deletions belong: a job that is cancelled leaves those that wait to others."""
        if home.job not in self._cancelled:
            return [home] * len(owners)
        opened = self._versions(owner.open_version for owner in owners)
        return [
            _home(owner, opened[owner.open_version]) if owner.open_version else home
            for owner in owners
        ]

    def _stay_deleted(
        self,
        owners: Mapping[int, Row[Any]],
        opened: Sequence[Row[Any]],
        waiting: Sequence[Row[Any]],
    ) -> None:
        """Note what is to be deleted again, after the last versions of documents are cancelled."""
        for row in opened:
            owner = owners[row.document_id]
            if owner.deleted_at is not None:
                self._deleted[_home(owner, row)].append(owner.id)
        for row in gave_way(self._connection, [*opened, *waiting]):
            self._to_delete[_home(owners[row.document_id], row)].append(row.document_id)

    def _hand_over(self, owners: Mapping[int, Row[Any]], waiting: Sequence[Row[Any]]) -> None:
        """Let deletions wait in the jobs of the open versions of their documents."""
        opened = self._versions(owners[row.document_id].open_version for row in waiting)
        pairs = [(row, opened[owners[row.document_id].open_version]) for row in waiting]
        hand_over(self._connection, self._tally, pairs)

    def _fail(self, document: Row[Any], row: Row[Any], error: dict[str, object]) -> None:
        """End a version that cannot be embedded.

        A document that was deleted is there again, as one of which what is attached may be left.
        """
        self._give_up(document, row, VersionState.FAILED, error, deleted=False)
        self._tally.add(row.job_id, docs_failed=1)

    def _give_up(
        self,
        document: Row[Any],
        row: Row[Any],
        state: VersionState,
        error: dict[str, object] | None = None,
        *,
        deleted: bool | None = None,
        waiting: int | None = -1,
    ) -> None:
        """End an open version that does not go live: the one before it stays so."""
        live = document.live_version
        self._own(document, live=live, opened=None, deleted=deleted, waiting=waiting)
        self._close(row.id, state, error)
        if row.rows:
            self._retiring.append((_place(document, row), row))

    def _plan_again(self, document: Row[Any], row: Row[Any]) -> None:
        """Another version went live first: start this one anew against it."""
        restart_versions(self._connection, [row.id], base=document.live_version)
        self.extract(_place(document, row), row)

    def _wake(self, owners: Sequence[Row[Any]]) -> None:
        """Open the versions that waited for the ones that ended."""
        waited = [owner for owner in owners if owner.next_version]
        if not waited:
            return
        self.flush()
        fresh = _locked_documents(self._connection, (owner.id for owner in waited))
        waiting = self._versions(owner.next_version for owner in waited)
        serving = self._versions(owner.live_version for owner in fresh.values())
        due = [
            (owner, waiting[owner.next_version], serving.get(owner.live_version))
            for owner in fresh.values()
            if owner.open_version is None and owner.next_version in waiting
        ]
        same = {owner.id for owner, row, live in due if _is_same(row, live)}
        same -= unsettled(self._connection, list(same))
        for owner, row, live in due:
            self._open(owner, row, live, same=owner.id in same)

    def _open(
        self, document: Row[Any], row: Row[Any], live: Row[Any] | None, *, same: bool
    ) -> None:
        """Begin with a version, unless the live one is the `same` with all that is inside of it."""
        if live and same:
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
            self._owners[document.id] = self._owners[document.id]._replace(waiting=None)
            self._tally.add(row.job_id, docs_done=1)
        else:
            self._own(document, live=base, opened=row.id, waiting=None, deleted=None)
            self.extract(_place(document, row), row)

    def _keep(self, document: Row[Any]) -> None:
        """Leave a document as it is, but for what waited."""
        live, opened = document.live_version, document.open_version
        self._own(document, live=live, opened=opened, waiting=None, deleted=None)

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
        self._owners[document.id] = _Pointers(
            live=live,
            opened=opened,
            waiting=document.next_version if waiting == -1 else waiting,
            deleted=was_deleted if deleted is None else deleted,
        )

    def _close(
        self, version: int, state: VersionState, error: dict[str, object] | None = None
    ) -> None:
        self._ended[version] = {"id": version, "state": state, "error": error}

    def _write_owners(self, owners: Mapping[int, _Pointers], *, deleted: bool) -> None:
        rows = [
            {
                "id": key,
                "live_version": one.live,
                "open_version": one.opened,
                "next_version": one.waiting,
            }
            for key, one in owners.items()
        ]
        deleted_at = clock.now() if deleted else None
        update_each(self._connection, documents, rows, deleted_at=deleted_at)

    def _versions(self, ids: Iterable[int | None]) -> dict[int, Row[Any]]:
        wanted = {key for key in ids if key is not None}
        if not wanted:
            return {}
        rows = self._connection.execute(_VERSIONS, {"ids": wanted})
        return {row.id: row for row in rows}


def _is_same(row: Row[Any], live: Row[Any] | None) -> bool:
    """Whether a version would be made of the same bytes by the same recipe as the live one.

    A deletion is not: what came back of the document since the one before is to go.
    """
    if live is None or row.blob is None:
        return False
    return (live.raw_hash, live.recipe_hash) == (row.raw_hash, row.recipe_hash)


def _place(document: Row[Any], row: Row[Any]) -> Place:
    return Place(row.tenant, row.job_id, document.index_id, row.pipeline_id)


def _home(document: Row[Any], row: Row[Any]) -> Home:
    return Home(
        job=row.job_id,
        tenant=row.tenant,
        index=document.index_id,
        pipeline=row.pipeline_id,
        scope=document.scope,
    )


def _locked_documents(connection: Connection, ids: Iterable[int]) -> dict[int, Row[Any]]:
    wanted = set(ids)
    if not wanted:
        return {}
    return {row.id: row for row in connection.execute(_LOCK, {"ids": wanted})}
