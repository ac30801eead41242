"""The schema of a ledger: made, upgraded and checked through Alembic."""

import uuid
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, text

from vectorflow.errors import InvalidSetting
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import identity

MIGRATIONS = Path(__file__).parent / "migrations"

MIGRATION_LOCK = 0x766563666C6F77
"""PostgreSQL advisory lock held while migrating; the letters of "vecflow"."""


def upgrade(database: Database) -> None:
    """Bring a database to the newest schema; an empty one becomes a ledger of its own.

    Several processes may call this at once: one migrates, the others find it done.
    """
    database.write_now(_upgrade)


def check(database: Database) -> None:
    """Refuse a database whose schema this release cannot work with.

    Raises:
        InvalidSetting: It is empty, older or newer.
    """
    current = database.read_now(current_revision)
    newest = newest_revision()
    if current is None:
        message = "the database holds no ledger yet"
        raise InvalidSetting(message, fix="run `vectorflow db upgrade`")
    if current > newest:
        message = f"the ledger has schema {current}, newer than this release"
        raise InvalidSetting(message, fix="install the newer VectorFlow")
    if current != newest:
        message = f"the ledger has schema {current}, this release needs {newest}"
        raise InvalidSetting(message, fix="run `vectorflow db upgrade`")


def current_revision(connection: Connection) -> str | None:
    """The schema revision of a database; None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def newest_revision() -> str:
    """The schema revision of this release: files are named `REVISION_what.py`, in order."""
    files = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return max(file.name.partition("_")[0] for file in files)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    current, newest = current_revision(connection), newest_revision()
    if current is not None and current > newest:
        message = f"the ledger has schema {current}, newer than this release"
        raise InvalidSetting(message, fix="install the newer VectorFlow")
    if current != newest:
        _migrate(connection)
    if connection.execute(select(identity.c.ledger)).first() is None:
        connection.execute(insert(identity).values(ledger=str(uuid.uuid4())))


def _migrate(connection: Connection) -> None:
    # Imported here: it costs every command a fifth of a second, and few commands migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
