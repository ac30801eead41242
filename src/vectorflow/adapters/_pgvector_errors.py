"""PostgreSQL's errors in our terms."""

import contextlib
from collections.abc import Generator

import psycopg

from vectorflow.errors import (
    IndexLost,
    IndexRefused,
    KeyRefused,
    OutOfSpace,
    Permanent,
    Unavailable,
    VectorFlowError,
)

_OTHER_COLUMNS = (
    IndexRefused,
    "its table has other columns than VectorFlow made",
    "give it back those it was made with, or use another index name",
)

_REFUSALS: dict[str, tuple[type[VectorFlowError], str, str]] = {
    "22P03": _OTHER_COLUMNS,
    "22P04": _OTHER_COLUMNS,
    "25006": (Unavailable, "the server is read-only", ""),
    "42501": (
        KeyRefused,
        "this user lacks a right",
        "let this user make tables, also temporary ones, and read and change those of the store",
    ),
    "42704": (
        IndexRefused,
        "the database lacks pgvector 0.8 or newer",
        "run CREATE EXTENSION vector; in that database, as a user who may",
    ),
    "42P07": (IndexRefused, "its table was not made by VectorFlow", "use another index name"),
    "42P01": (IndexLost, "it is not there", ""),
    "53100": (OutOfSpace, "the server's disk is full", ""),
}

_PASSING = {"08", "25", "40", "53", "55", "57", "58", "XX"}
"""Classes of SQLSTATE that say something of the server or the connection, and of no record."""

_CHANGED = {"3F", "42"}
"""What a statement names is not there, or not as it was made: every record would be refused."""

_REFUSED_LOGIN = (
    "authentication failed", "no password", "pg_hba.conf", "does not exist",
    "not permitted to log in", "permission denied", "valid client certificate",
)  # fmt: skip
"""In what libpq says of a connection, without a SQLSTATE."""


@contextlib.contextmanager
def translated(index: str) -> Generator[None]:
    """Turn what psycopg raises into our errors."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"PostgreSQL took too long on index {index!r}") from error
    except psycopg.Error as error:
        raise _translation(index, error) from error


def _translation(index: str, error: psycopg.Error) -> VectorFlowError:
    state = error.sqlstate or ""
    if state in _REFUSALS:
        kind, why, fix = _REFUSALS[state]
        return kind(f"index {index!r}: {why}", fix=fix)
    refused = not state and any(sign in str(error) for sign in _REFUSED_LOGIN)
    if refused or state[:2] in {"28", "3D"}:
        fix = "check user, password and database in the store's address, and the server's rules"
        return KeyRefused("PostgreSQL refused the connection", fix=fix)
    if not state or state[:2] in _PASSING:
        return Unavailable("PostgreSQL does not answer as it should")
    if state[:2] in _CHANGED:
        fix = "see in the log of PostgreSQL what is missing or was changed"
        message = f"index {index!r}: its table is not as VectorFlow made it (SQLSTATE {state})"
        return IndexRefused(message, fix=fix)
    return Permanent(f"PostgreSQL refused a statement on index {index!r} (SQLSTATE {state})")
