"""A few of the blobs that a ledger names: by them it knows the folder that is its own."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from vectorflow.domain.jobs import VersionState
from vectorflow.ledger.tables import parts, versions

SOME = 16


def some_needed(connection: Connection) -> list[str]:
    """Keys of the newest uploads and manifests that are needed; none where no blob is."""
    opened = [VersionState.WAITING, VersionState.INDEXING, VersionState.FAILED]
    uploads = (
        select(versions.c.blob)
        .where(versions.c.state.in_(opened), versions.c.blob.is_not(None))
        .order_by(versions.c.id.desc())
        .limit(SOME)
    )
    manifests = (
        select(parts.c.blob)
        .join(versions, versions.c.id == parts.c.version_id)
        .where(versions.c.state == VersionState.LIVE)
        .order_by(parts.c.version_id.desc())
        .limit(SOME)
    )
    named = [*connection.execute(uploads).scalars(), *connection.execute(manifests).scalars()]
    return [key for key in named if key is not None]


def names_one(connection: Connection, *, keys: Sequence[str]) -> bool:
    """Whether one of these is the upload or in the manifest of a version, whatever became of it."""
    uploads = select(versions.c.id).where(versions.c.blob.in_(keys)).limit(1)
    manifests = select(parts.c.version_id).where(parts.c.blob.in_(keys)).limit(1)
    return any(connection.execute(asked).first() is not None for asked in (uploads, manifests))
