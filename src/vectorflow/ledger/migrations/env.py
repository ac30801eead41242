"""Alembic's entry: runs on the connection it is handed."""

from alembic import context
from sqlalchemy import Connection

from vectorflow.ledger.tables import metadata

connection = context.config.attributes["connection"]
if not isinstance(connection, Connection):
    message = "migrations run through vectorflow.ledger.schema"
    raise TypeError(message)
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
