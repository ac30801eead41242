"""A release that is not there yet: its schema is ours and one step more."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

REVISION = "9999"

_STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade():
    {what}
"""

EXPANDING = """
    for name in sa.inspect(op.get_bind()).get_table_names():
        if name == "alembic_version":
            continue
        op.add_column(name, sa.Column("next_note", sa.String(64)))
        op.add_column(
            name, sa.Column("next_count", sa.Integer(), nullable=False, server_default="7")
        )
    op.create_table("next_things", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("ix_batches_next_count", "batches", ["next_count", "state"])
"""
"""All that a step may do without shutting anybody out, to every table that there is."""

CONTRACTING = """
    op.drop_column("jobs", "document_id")
"""


@contextmanager
def next_release(folder: Path, what: str = EXPANDING, *, oldest: str = "") -> Iterator[None]:
    """Be that release in here; `oldest` is the schema of the oldest one that it puts up with."""
    migrations = folder / "migrations-of-the-next-release"
    if not migrations.exists():
        shutil.copytree(schema.MIGRATIONS, migrations)
        step = _STEP.format(revision=REVISION, before=schema.newest_revision(), what=what.strip())
        (migrations / "versions" / f"{REVISION}_next.py").write_text(step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", migrations)
        patch.setattr(schema, "newest_revision", lambda: REVISION)
        patch.setattr(schema, "OLDEST", oldest or schema.OLDEST)
        yield


def upgrade_by_next_release(
    url: str, folder: Path, what: str = EXPANDING, *, oldest: str = ""
) -> None:
    """Upgrade a ledger as that release does."""
    database = Database(url)
    try:
        with next_release(folder, what, oldest=oldest):
            schema.upgrade(database)
            schema.check(database)
    finally:
        database.close()
