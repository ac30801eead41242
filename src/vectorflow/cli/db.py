"""`vectorflow db`: the schema of the ledger."""

from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output

if TYPE_CHECKING:
    from vectorflow.settings import Settings


@click.group()
@options.everywhere
def db() -> None:
    """Upgrade or check the schema of the ledger."""


@db.command(short_help="Bring the ledger to the schema of this release.")
@options.database
@options.everywhere
def upgrade() -> None:
    """Bring the ledger to the schema of this release; several at once are safe.

    Nothing happens to a ledger that a newer release upgraded and left usable for this one.
    """
    _use(options.settings(serving=True), upgrading=True)


@db.command()
@options.database
@options.everywhere
def check() -> None:
    """Exit with an error unless this release can use the ledger."""
    _use(options.settings(), upgrading=False)


def _use(settings: "Settings", *, upgrading: bool) -> None:
    from contextlib import closing

    from vectorflow.cli.ledger import demand_ledger
    from vectorflow.cli.place import show_place
    from vectorflow.ledger import schema
    from vectorflow.ledger.database import Database

    show_place(settings)
    if not upgrading:
        demand_ledger(settings)
    with closing(Database(settings.database_url)) as database:
        (schema.upgrade if upgrading else schema.check)(database)
        revision = database.read_now(schema.current_revision)
    own = schema.newest_revision()
    if options.as_json():
        output.print_json({"schema": revision, "schema_of_this_release": own, "up_to_date": True})
    else:
        newer = "" if revision == own else f"; this release, of schema {own}, may use it"
        output.echo(f"schema {revision}, up to date{newer}")
