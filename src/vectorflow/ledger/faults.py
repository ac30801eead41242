"""What databases refuse, as errors of ours: never with the statement, its values or the account."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import DBAPIError, OperationalError

from vectorflow.errors import InvalidInput, InvalidSetting, OutOfSpace, Unavailable, VectorFlowError


@dataclass(frozen=True, slots=True)
class Fault:
    """An error, and whether the same transaction may well pass when it is run again at once."""

    error: VectorFlowError
    passes: bool = False


_FULL = partial(OutOfSpace, "the disk of the ledger is full")
_READ_ONLY = partial(
    Unavailable,
    "the ledger cannot be written: its file or folder does not allow it",
    fix="check the rights of the data directory, and that its disk is mounted for writing",
)
_DISK = partial(
    Unavailable,
    "the disk does not read or write the file of the ledger",
    fix="look into the log of the operating system",
)

_ENDED = partial(Unavailable, "the database ended the transaction")
_SILENT = partial(Unavailable, "the database does not answer", fix="check that it runs and its URL")
_LATE = partial(
    Unavailable, "the database does not answer in time", fix="check that it runs and its URL"
)

_BY_SQLITE: dict[str, Callable[[], VectorFlowError]] = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_SHMSIZE": _FULL,  # the file of shared memory cannot grow
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_CANTOPEN": _READ_ONLY,
    "SQLITE_PERM": _READ_ONLY,
    "SQLITE_NOTADB": partial(
        Unavailable,
        "the file of the ledger is no SQLite database",
        fix="check --data-dir and VECTORFLOW_DATABASE__URL, or restore it from a backup",
    ),
    "SQLITE_CORRUPT": partial(
        Unavailable,
        "the file of the ledger is damaged",
        fix="stop all that uses it, and restore it from a backup",
    ),
    "SQLITE_IOERR": _DISK,
}
"""By the beginning of SQLite's name of an error; the first that fits counts."""

_BY_SQLSTATE: dict[str, Callable[[], VectorFlowError]] = {
    "53100": _FULL,
    "25006": partial(
        Unavailable,
        "the ledger cannot be written: the database is read-only",
        fix="name the server that takes writes, or end its read-only mode",
    ),
    "42501": partial(
        Unavailable,
        "the account lacks rights in the database of the ledger",
        fix="use the account that ran `vectorflow db upgrade`, or let that one grant its rights",
    ),
}

_REFUSED = partial(
    Unavailable,
    "the database of the ledger refuses this account",
    fix="check user and password of VECTORFLOW_DATABASE__URL, and what the server lets in",
)
_NO_DATABASE = partial(
    Unavailable,
    "the server has no database of this name for the ledger",
    fix="create it, or check VECTORFLOW_DATABASE__URL",
)
_BY_GREETING: dict[str, Callable[[], VectorFlowError]] = {
    "authentication failed|no password supplied|pg_hba.conf|permission denied": _REFUSED,
    'role ".*" (does not exist|is not permitted)': _REFUSED,
    'database ".*" does not exist': _NO_DATABASE,
    "connection timeout expired": _LATE,
    "(invalid|bad) .*(value|option)|invalid port": partial(
        InvalidSetting,
        "the database URL has a parameter that PostgreSQL does not take",
        fix="leave it out, or see the documentation of libpq",
    ),
}
"""By a pattern of what PostgreSQL says to who connects, without a SQLSTATE and in English."""

_BY_NUMBER: dict[int, Callable[[], VectorFlowError]] = {
    **dict.fromkeys((1021, 1026, 1114), _FULL),
    **dict.fromkeys((1290, 1792, 1836), _BY_SQLSTATE["25006"]),
    **dict.fromkeys((1142, 1143, 1227), _BY_SQLSTATE["42501"]),
    **dict.fromkeys((1044, 1045, 1130, 1698), _REFUSED),
    1049: _NO_DATABASE,
    1406: partial(
        InvalidInput,
        "a name is too long for the ledger in MariaDB",
        fix="shorten the id of the document to 2000 bytes",
    ),
}
"""By number of an error of MariaDB."""

_ABORTED_NUMBERS = frozenset(
    {1020, 1040, 1053, 1062, 1079, 1203, 1205, 1213, 1317, 1637, 1927, 2006, 2013, 2014, 2055}
)
"""Changed since it was read, too many connections, shutting down, duplicate key, lock wait,
deadlock, killed; from 2000 on the line to the server broke."""

_OF_CLIENTS = range(2000, 3000)
"""Numbers of errors that no server sent."""

_ABORTED = (
    "25P03", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08", "53", "23505",
)  # fmt: skip
"""The last is a duplicate key: two made the same row, and the loser finds it on the next try."""


def fault_of(error: DBAPIError) -> Fault:
    """Sort an error of any database."""
    number = error.orig.args[0] if error.orig and error.orig.args else None
    if isinstance(number, int):
        return _fault_of_mariadb(error, number)
    name: str = getattr(error.orig, "sqlite_errorname", "")
    state: str = getattr(error.orig, "sqlstate", None) or ""
    if known := _known(name, state, str(error.orig)):
        return Fault(known)
    if state.startswith(_ABORTED) or error.connection_invalidated:
        return Fault(_ENDED(), passes=True)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        message = "another process holds the ledger"
        return Fault(Unavailable(message, fix="see which one, and end it"), passes=True)
    if isinstance(error, OperationalError) and not name:
        return Fault(_SILENT(), passes=True)
    return _refused(error, state or name)


def _fault_of_mariadb(error: DBAPIError, number: int) -> Fault:
    if make := _BY_NUMBER.get(number):
        return Fault(make())
    if "Errcode: 28" in str(error.orig):  # of the operating system: no space left
        return Fault(_FULL())
    if number in _OF_CLIENTS and "(timed out)" in str(error.orig):
        return Fault(_LATE())
    if number in _ABORTED_NUMBERS or error.connection_invalidated:
        return Fault(_ENDED(), passes=True)
    return Fault(_SILENT(), passes=True) if number in _OF_CLIENTS else _refused(error, str(number))


def _refused(error: DBAPIError, code: str) -> Fault:
    what = f"{type(error.orig).__name__} {code}".strip()
    return Fault(VectorFlowError(f"the database refused a statement ({what})"))


def _known(name: str, state: str, text: str) -> VectorFlowError | None:
    if state:
        make = _BY_SQLSTATE.get(state)
    elif name:
        make = next((one for start, one in _BY_SQLITE.items() if name.startswith(start)), None)
    else:
        make = next((one for part, one in _BY_GREETING.items() if re.search(part, text)), None)
    return make() if make else None
