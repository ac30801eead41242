"""The schema of a ledger: made, upgraded and checked through Alembic."""

import uuid
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, text

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
    known = {script.revision for script in _scripts().walk_revisions()}
    if current not in known:
        message = f"the ledger has schema {current}, newer than this release"
        raise InvalidSetting(message, fix="install the newer VectorFlow")
    if current != newest:
        message = f"the ledger has schema {current}, this release needs {newest}"
        raise InvalidSetting(message, fix="run `vectorflow db upgrade`")


def current_revision(connection: Connection) -> str | None:
    """The schema revision of a database; None if it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str:
    """The schema revision of this release."""
    head = _scripts().get_current_head()
    if head is None:
        message = "this installation carries no migrations"
        raise InvalidSetting(message, fix="install VectorFlow again")
    return head


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    if current_revision(connection) != newest_revision():
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    if connection.execute(select(identity.c.ledger)).first() is None:
        connection.execute(insert(identity).values(ledger=str(uuid.uuid4())))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
