"""The clock of a database, set without setting that of the machine."""

from sqlalchemy import Connection, Double, update

from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import metadata


def set_clock(database: Database, by: float) -> None:
    """Set it by so many seconds: seen from there, all times of the ledger move the other way."""

    def move(connection: Connection) -> None:
        for table in metadata.sorted_tables:
            times = [column for column in table.c if isinstance(column.type, Double)]
            moved = {
                column.name: column - by
                for column in times
                if column.name.endswith(("_at", "_until"))
            }
            if moved:
                connection.execute(update(table).values(moved))

    database.write_now(move)
