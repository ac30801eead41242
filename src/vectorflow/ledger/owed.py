"""Deletions that no cancel takes back: of attachments that their documents have lost for good."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from vectorflow.domain.jobs import JobState, VersionState
from vectorflow.ledger.columns import IDS
from vectorflow.ledger.each import update_each
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, jobs, versions
from vectorflow.ledger.tally import Tally

_FAILURES = frozenset({VersionState.FAILED, VersionState.DISCARDED, VersionState.RETRIED})

_live = versions.alias("live")

_SINCE_LIVE = (
    select(versions, jobs.c.state.label("job_state"))
    .join(documents, documents.c.id == versions.c.document_id)
    .join(jobs, jobs.c.id == versions.c.job_id)
    .join(_live, _live.c.id == documents.c.live_version, isouter=True)
    .where(versions.c.document_id.in_(IDS), versions.c.number > func.coalesce(_live.c.number, 0))
    .order_by(versions.c.document_id, versions.c.number.desc())
)
"""What came of documents after the version that is live, the newest first."""


def owed(
    connection: Connection, owners: Mapping[int, Row[Any]], waiting: Iterable[Row[Any]]
) -> set[int]:
    """Ids of those among versions of cancelled jobs that delete an attachment all the same.

    It is the rest of a version of its document that has ended, or of the deletion of that. Only
    with the open version that called for it a deletion is cancelled too. The owners are
    locked, their documents need not be: who changes one of them, or deletes it or brings it back,
    locks what is inside of it before that is decided.
    """
    outers = {
        row.id: owners[row.document_id].parent_id
        for row in waiting
        if row.blob is None and owners[row.document_id].parent_id is not None
    }
    ending = {row.job_id for row in waiting}
    cancelled: set[int] = set()
    for some in slices(sorted(set(outers.values()))):
        calls_for_it = (
            select(documents.c.id)
            .join(versions, versions.c.id == documents.c.open_version)
            .where(documents.c.id.in_(some), documents.c.deleted_at.is_(None))
            .where(versions.c.job_id.in_(ending), versions.c.parts_total.is_not(None))
        )
        cancelled.update(connection.execute(calls_for_it).scalars())
    return {key for key, outer in outers.items() if outer not in cancelled}


def gave_way(connection: Connection, cancelled: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Those of these versions, one of a document, under which a deletion stopped waiting.

    Nothing but it is left of what came since the live version, and its own job has not taken it
    back: that said the document is gone, and it is not to be searchable again.
    """
    last = {row.document_id: row for row in sorted(cancelled, key=lambda row: row.number)}
    ending = {row.job_id for row in last.values()}
    decided: dict[int, bool] = {}
    for some in slices(sorted(last)):
        for row in connection.execute(_SINCE_LIVE, {"ids": some}):
            if row.number < last[row.document_id].number and not _left_nothing(row, ending):
                decided.setdefault(row.document_id, row.state == VersionState.SUPERSEDED)
    return [row for key, row in last.items() if decided.get(key)]


def _left_nothing(row: Row[Any], ending: Collection[int]) -> bool:
    """Whether a version has decided nothing, unlike a deletion that holds."""
    if row.state == VersionState.SUPERSEDED:
        taken_back = row.job_state == JobState.CANCELLED or row.job_id in ending
        return row.blob is not None or taken_back
    refused_at_the_door = row.blob is None and row.state in _FAILURES
    return row.state == VersionState.CANCELLED or refused_at_the_door


def hand_over(
    connection: Connection, tally: Tally, pairs: Sequence[tuple[Row[Any], Row[Any]]]
) -> None:
    """Let deletions, whose job ends now, be of the jobs of the versions that they wait for.

    Those have not ended, nor do their credentials go, before their own version has.

    Args:
        connection: Of the transaction, which has locked the documents.
        tally: Of the same jobs.
        pairs: A deletion, and the open version of its document.
    """
    moved: list[dict[str, object]] = []
    for deletion, opened in pairs:
        tally.add(deletion.job_id, documents_gone=-1)
        tally.add(opened.job_id, documents_gone=1)
        theirs = {"job_id": opened.job_id, "pipeline_id": opened.pipeline_id}
        moved.append({"id": deletion.id} | theirs)
    update_each(connection, versions, moved)
