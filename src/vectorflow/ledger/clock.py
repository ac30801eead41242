"""The database's clock, so that workers with wrong clocks cannot break leases."""

from sqlalchemy import Double
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class now(GenericFunction[float]):  # noqa: N801 - written like the SQL function it is
    """Seconds since 1970 by the database's clock, with fractions; moves on inside a transaction."""

    type = Double()
    inherit_cache = True
    name = "vf_now"


@compiles(now, "sqlite")
def _sqlite(_element: now, _compiler: SQLCompiler, **_options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql(_element: now, _compiler: SQLCompiler, **_options: object) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now, "mariadb")
def _mariadb(_element: now, _compiler: SQLCompiler, **_options: object) -> str:
    # As each statement began: a time that is the same for all rows can be looked up in an index.
    return "(unix_timestamp(now(6)) + 0e0)"
