"""Alembic's entry: runs on the connection it is handed.

MariaDB commits each statement that changes a table, so a migration that was cut short runs again
from its start: whatever its steps make may be there already.
"""

from alembic import context
from alembic.ddl.base import AddColumn, visit_add_column
from sqlalchemy import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler

from vectorflow.ledger.tables import metadata


@compiles(AddColumn, "mariadb")
def _unless_it_is_there(element: AddColumn, compiler: DDLCompiler, **options: object) -> str:
    element.if_not_exists = True
    return visit_add_column(element, compiler, **options)


connection = context.config.attributes["connection"]
if not isinstance(connection, Connection):
    message = "migrations run through vectorflow.ledger.schema"
    raise TypeError(message)
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
