"""Deletions that no cancel takes back: of what is attached to documents that are deleted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from vectorflow.ledger.each import update_each
from vectorflow.ledger.slices import slices
from vectorflow.ledger.tables import documents, versions
from vectorflow.ledger.tally import Tally


def owed(
    connection: Connection, owners: Mapping[int, Row[Any]], waiting: Iterable[Row[Any]]
) -> set[int]:
    """Ids of the versions among these that delete what is attached to a deleted document.

    Such a deletion is the rest of one that is live. The owners are locked, their documents need not
    be: who deletes or brings back one of them locks what is inside of it before that is decided.
    """
    outers = {
        row.id: owners[row.document_id].parent_id
        for row in waiting
        if row.blob is None and owners[row.document_id].parent_id is not None
    }
    deleted: set[int] = set()
    for some in slices(sorted(set(outers.values()))):
        gone = documents.c.id.in_(some) & documents.c.deleted_at.is_not(None)
        deleted.update(connection.execute(select(documents.c.id).where(gone)).scalars())
    return {key for key, outer in outers.items() if outer in deleted}


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
