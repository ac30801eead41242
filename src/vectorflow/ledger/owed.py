"""Deletions that no cancel takes back: of attachments that their documents have lost for good."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from vectorflow.domain.jobs import VersionState
from vectorflow.ledger.each import update_each
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, versions
from vectorflow.ledger.tally import Tally


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
    jobs = {row.job_id for row in waiting}
    cancelled: set[int] = set()
    for some in slices(sorted(set(outers.values()))):
        calls_for_it = (
            select(documents.c.id)
            .join(versions, versions.c.id == documents.c.open_version)
            .where(documents.c.id.in_(some), documents.c.deleted_at.is_(None))
            .where(versions.c.job_id.in_(jobs), versions.c.parts_total.is_not(None))
        )
        cancelled.update(connection.execute(calls_for_it).scalars())
    return {key for key, outer in outers.items() if outer not in cancelled}


def gave_way(connection: Connection, cancelled: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Those of these versions for which the deletion before them stopped waiting.

    It has ended well in its own job, whose documents are not to be searchable again.
    """
    found: set[tuple[int, int]] = set()
    for some in slices(sorted({row.document_id for row in cancelled})):
        deletions = select(versions.c.document_id, versions.c.number).where(
            versions.c.document_id.in_(some),
            versions.c.state == VersionState.SUPERSEDED,
            versions.c.blob.is_(None),
        )
        found.update((row.document_id, row.number) for row in connection.execute(deletions))
    return [row for row in cancelled if (row.document_id, row.number - 1) in found]


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
