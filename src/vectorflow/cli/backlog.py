"""`vectorflow backlog`: what there is for workers to do, and what keeps the rest from it."""

from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output

if TYPE_CHECKING:
    from vectorflow.service.backlog import Figures
    from vectorflow.wiring import Parts

COLUMNS = ("ready", "leased", "delayed", "paused")


@click.command(short_help="Show what waits, what runs and what is blocked.")
@options.database
@options.everywhere
def backlog() -> None:
    """Show what waits, what runs and what is blocked, in batches, over all tenants.

    Ready batches wait for a worker, leased ones have one. Delayed ones are tried again later, and
    paused ones wait for their jobs.
    """
    from vectorflow.cli.ledger import with_parts
    from vectorflow.service.backlog import figures

    async def read(parts: "Parts") -> "Figures":
        return await figures(parts.database)

    found = with_parts(read)
    if options.as_json():
        output.print_json(found)
        return
    _show(found)


def _show(found: "Figures") -> None:
    from rich.table import Table

    def count(number: int) -> str:
        more = "+" if number >= found.counted_to else ""
        return f"{number:,}{more}" if number else ""

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("lane")
    table.add_column("kind")
    for name in (*COLUMNS, "oldest"):
        table.add_column(name, justify="right", no_wrap=True)
    for lane, kinds in found.lanes.items():
        for kind, line in kinds.items():
            oldest = "" if line.oldest_seconds is None else f"{line.oldest_seconds:,.0f} s"
            cells = [count(getattr(line, name)) for name in COLUMNS]
            table.add_row(lane, kind, *cells, oldest)
    output.show(table)
    for reason, jobs in found.paused_jobs.items():
        output.echo(f"{output.count(jobs, 'job')} paused: {reason}")
    if found.waiting_versions:
        waiting = output.count(found.waiting_versions, "document version")
        output.echo(f"{waiting} waiting for an older one to end")
