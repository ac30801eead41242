"""MariaDB as SQLAlchemy speaks to it for a ledger."""

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects.mysql.base import MySQLDDLCompiler, MySQLTypeCompiler
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import JSON, Text

from vectorflow.errors import InvalidSetting
from vectorflow.ledger.dialects import BUSY_TIMEOUT, IDLE_SECONDS

OLDEST = (10, 6)
"""The first that passes over locked rows."""

COLLATION = "utf8mb4_nopad_bin"
"""Exact: capital letters and spaces at the end count."""

# Nothing is cut to fit, and all of an UPDATE sees the row as it was.
_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,SIMULTANEOUS_ASSIGNMENT"

_SESSION = f"""SET SESSION
    character_set_client = utf8mb4, character_set_results = utf8mb4,
    collation_connection = {COLLATION},
    sql_mode = '{_MODE}',
    tx_isolation = 'READ-COMMITTED',
    time_zone = '+00:00',
    idle_transaction_timeout = {IDLE_SECONDS},
    idle_write_transaction_timeout = {IDLE_SECONDS},
    innodb_lock_wait_timeout = {BUSY_TIMEOUT}"""


_NOT_TAKEN = (TypeError, ValueError, LookupError, AttributeError, OSError, NotImplementedError)
"""What PyMySQL raises over parameters; what servers and lines do are errors of its own."""


class _Types(MySQLTypeCompiler):
    """Texts of any length; JSON too, since MariaDB's own type refuses more than 32 levels."""

    def visit_TEXT(self, type_: Text, **_: object) -> str:  # noqa: N802 - SQLAlchemy's name
        del type_
        return "LONGTEXT"

    def visit_JSON(self, type_: JSON[Any], **_: object) -> str:  # noqa: N802
        del type_
        return "LONGTEXT"


class _Definitions(MySQLDDLCompiler):
    """Tables that compare exactly; as each of these commits, what is there already is left so."""

    def post_create_table(self, table: Table) -> str:
        options = super().post_create_table(table)
        return f"{options} ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARSET=utf8mb4 COLLATE={COLLATION}"

    def visit_create_table(self, create: CreateTable, **options: Any) -> str:  # noqa: ANN401
        create.if_not_exists = True
        text: str = super().visit_create_table(create, **options)  # type: ignore[no-untyped-call]
        return text

    def visit_create_index(self, create: Any, **options: Any) -> str:  # type: ignore[override]  # noqa: ANN401
        create.if_not_exists = True
        return super().visit_create_index(create, **options)


class LedgerDialect(MariaDBDialect, MySQLDialect_pymysql):
    """The dialect `mariadb+vectorflow`."""

    supports_statement_cache = True
    ddl_compiler = _Definitions
    type_compiler_cls = _Types

    def create_connect_args(
        self, url: URL, _translate_args: dict[str, Any] | None = None
    ) -> ConnectArgsType:
        """Read the URL; the password is what its letters are in UTF-8, as servers keep it."""
        try:
            given, named = super().create_connect_args(url, _translate_args)
        except ValueError:
            raise _wrong_parameter() from None
        if isinstance(password := named.get("password"), str):
            named["password"] = password.encode()
        return given, named

    def connect(self, *given: Any, **named: Any) -> DBAPIConnection:  # noqa: ANN401
        """Wait no longer for what the server says first than for the line to it."""
        longest = named.pop("read_timeout")
        try:
            first = min(longest, named["connect_timeout"])
            connection = super().connect(*given, read_timeout=first, **named)
        except _NOT_TAKEN:
            raise _wrong_parameter() from None
        connection._read_timeout = longest  # noqa: SLF001 - PyMySQL has no other way
        return connection

    def on_connect(self) -> Callable[[DBAPIConnection], None]:
        """Look at each server before anything is asked of it, and set up the session."""
        before = super().on_connect()

        def set_up(connection: DBAPIConnection) -> None:
            demand_mariadb(connection.get_server_info())
            if before is not None:
                before(connection)
            cursor = connection.cursor()
            cursor.execute(_SESSION)
            cursor.close()

        return set_up


def _wrong_parameter() -> InvalidSetting:
    message = "the database URL has a parameter that MariaDB does not take"
    return InvalidSetting(message, fix="leave it out, or see the documentation of PyMySQL")


def demand_mariadb(version: str) -> None:
    """Refuse a server that cannot hold a ledger, by what it says of itself.

    Raises:
        InvalidSetting: It is MySQL, or too old.
    """
    fix = "use MariaDB 10.6 or newer, or PostgreSQL"
    found = re.search(r"(\d+)\.(\d+)\.\d+-MariaDB", version)
    if found is None:
        message = f"the database is MySQL {version}, which cannot return the rows that it inserts"
        raise InvalidSetting(message, fix=fix)
    if (int(found[1]), int(found[2])) < OLDEST:
        message = f"the database is MariaDB {found[1]}.{found[2]}, which cannot skip locked rows"
        raise InvalidSetting(message, fix=fix)
