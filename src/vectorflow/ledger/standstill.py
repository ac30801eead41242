"""Processes that stand still in the middle of a transaction of PostgreSQL."""

from sqlalchemy import Connection, text

from vectorflow.ledger.dialects import IDLE_SECONDS

# The server's own `idle_in_transaction_session_timeout` does not fire after the last statement of a
# pipeline, which psycopg makes of every executemany: its clock stops at the flush that follows.
_END = text("""
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database()
        AND usename = current_user
        AND application_name = current_setting('application_name')
        AND pid <> pg_backend_pid()
        AND state LIKE 'idle in transaction%'
        AND state_change < clock_timestamp() - make_interval(secs => :seconds)
""")


def end_standing_transactions(connection: Connection) -> int:
    """Roll back what a stopped process or a paused machine holds, so that others get its rows.

    A reaper passes over locked rows: without this, nobody could take over the batches of a claim or
    a finish in which a machine stands, for as long as it stands.
    """
    if connection.dialect.name != "postgresql":
        return 0
    return len(connection.execute(_END, {"seconds": IDLE_SECONDS}).all())
