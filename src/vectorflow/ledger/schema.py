"""The schema of a ledger: made, upgraded and checked through Alembic."""

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, or_, select, text, update

from vectorflow.errors import InvalidSetting, Unavailable
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import identity, metadata

MIGRATIONS = Path(__file__).parent / "migrations"

MIGRATION_LOCK = 0x766563666C6F77
"""PostgreSQL advisory lock held while migrating; the letters of "vecflow"."""


LOCK_SECONDS = 60
"""How long an upgrade of MariaDB waits for another."""

OLDEST = "0008"
"""The oldest schema whose code works on the newest one. What older code could not live with, in the
schema or in what is written into it, raises this in a step of its own."""

TELLING = "0008"
"""From this schema on a ledger tells the oldest one whose code may use it."""

_LOCK_NAME = "concat('vectorflow ', sha1(database()))"
_GET_LOCK = text(f"SELECT get_lock({_LOCK_NAME}, :seconds)")
_RELEASE_LOCK = text(f"SELECT release_lock({_LOCK_NAME})")


def upgrade(database: Database) -> None:
    """Bring a database to the newest schema; an empty one becomes a ledger of its own.

    Several processes may call this at once: one migrates, the others find it done. So does an older
    release where a newer one migrated and left it what it needs.

    Raises:
        InvalidSetting: It is too new, or holds tables of something else.
    """
    database.write_now(_upgrade)


def check(database: Database) -> None:
    """Refuse a database whose schema this release cannot work with.

    Raises:
        InvalidSetting: It is empty, older or too new.
    """
    database.read_now(_check)


def demand_ready(connection: Connection) -> None:
    """Refuse a ledger that this release cannot work with, or write to; changes nothing.

    Raises:
        InvalidSetting: Its schema is older or too new.
    """
    _check(connection)
    connection.execute(update(identity).values(ledger=identity.c.ledger))


def current_revision(connection: Connection) -> str | None:
    """The schema revision of a database; None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


@cache
def newest_revision() -> str:
    """The schema revision of this release: files are named `REVISION_what.py`, in order."""
    files = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return max(file.name.partition("_")[0] for file in files)


def _check(connection: Connection) -> None:
    current, newest = current_revision(connection), newest_revision()
    if current is None:
        message = "the database holds no ledger yet"
        raise InvalidSetting(message, fix="run `vectorflow db upgrade`")
    _refuse_too_new(connection, current)
    if current < newest:
        message = f"the ledger has schema {current}, this release needs {newest}"
        before = "" if current >= OLDEST else "stop what runs of older releases, then "
        raise InvalidSetting(message, fix=f"{before}run `vectorflow db upgrade`")


def _refuse_too_new(connection: Connection, current: str) -> None:
    """Refuse what a newer release made in a way that this one cannot live with."""
    if current < TELLING:
        return
    newest = newest_revision()
    oldest = connection.execute(select(identity.c.oldest)).scalar_one_or_none()
    needed = oldest or current  # nobody told: only its own code
    if needed > newest:
        there = max(current, needed)  # MariaDB may have been left between two steps
        message = f"the ledger has schema {there}, newer than this release can use"
        raise InvalidSetting(message, fix="install the newer VectorFlow")


def _upgrade(connection: Connection) -> None:
    with _one_at_a_time(connection):
        _upgrade_alone(connection)


@contextmanager
def _one_at_a_time(connection: Connection) -> Generator[None]:
    """Let processes upgrade one after the other."""
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    if dialect != "mariadb":
        yield
        return
    if not connection.execute(_GET_LOCK, {"seconds": LOCK_SECONDS}).scalar_one():
        raise Unavailable("another process has been upgrading the ledger for long")
    try:
        yield
        connection.exec_driver_sql("COMMIT")  # before another may look
    finally:
        connection.execute(_RELEASE_LOCK)


def _upgrade_alone(connection: Connection) -> None:
    current, newest = current_revision(connection), newest_revision()
    if current is None:
        _demand_room(connection)
    else:
        _refuse_too_new(connection, current)
        if current > newest:
            return
    if current != newest:
        if current is not None and current >= TELLING:
            _tell_oldest(connection)  # first, as MariaDB commits each of the steps
        _migrate(connection)
    if connection.execute(select(identity.c.ledger)).first() is None:
        connection.execute(insert(identity).values(ledger=str(uuid.uuid4())))
    _tell_oldest(connection)


def _tell_oldest(connection: Connection) -> None:
    """Shut out releases that could not live with the newest schema."""
    told = identity.c.oldest
    behind = or_(told.is_(None), told < OLDEST)
    connection.execute(update(identity).where(behind).values(oldest=OLDEST))


def _demand_room(connection: Connection) -> None:
    """Refuse a database in which others have tables of our names.

    On MariaDB they may be our own, of an upgrade that was cut short.
    """
    names = set(inspect(connection).get_table_names())
    taken = metadata.tables.keys() & names
    if taken and "alembic_version" not in names:
        message = f"the database is not empty and no ledger: it has a table {min(taken)!r}"
        raise InvalidSetting(message, fix="name a database of its own for the ledger")


def _migrate(connection: Connection) -> None:
    # Imported here: it costs every command a fifth of a second, and few commands migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
