"""Workers that lost a lease and wrote all the same: a machine that stood still and goes on."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from vectorflow.domain.jobs import BatchKind, VersionState
from vectorflow.ledger.new_batches import Place, make_batch
from vectorflow.ledger.tables import documents, versions
from vectorflow.ledger.tally import Tally
from vectorflow.ports.work import Lease


def retire_again(
    connection: Connection, tally: Tally, stale: Iterable[Lease], *, zombie_seconds: float
) -> None:
    """Delete what these leases may have stored of versions that were replaced meanwhile.

    Their worker says that it has woken up; how long it slept has no bound, so what was retired
    before is no proof. Its last store call may still be under way, so the deleting waits for it.
    Versions that are live or still open need nothing: their records have the same ids.
    """
    written = {
        version.id for lease in stale if lease.kind is BatchKind.EMBED for version in lease.versions
    }
    if not written:
        return
    rows = connection.execute(
        select(versions, documents.c.index_id)
        .join(documents, documents.c.id == versions.c.document_id)
        .where(
            versions.c.id.in_(written),
            versions.c.state.not_in([VersionState.INDEXING, VersionState.LIVE]),
        )
    )
    for row in rows.all():
        place = Place(row.tenant, row.job_id, row.index_id, row.pipeline_id)
        make_batch(connection, place, BatchKind.RETIRE, version=row.id, delay=zombie_seconds)
        tally.add(row.job_id, cleanup_open=1)
