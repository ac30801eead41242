"""`vectorflow doctor`: what is reachable, what is missing, and what to do about it."""

import asyncio
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output
from vectorflow.cli.exit_codes import DONE, ERROR

if TYPE_CHECKING:
    from vectorflow.cli.checks import Finding

STYLES = {"ok": "green", "note": "yellow", "broken": "bold red"}


@click.command(short_help="Check that everything works.")
@options.index
@options.embedder
@options.store
@options.database
@options.everywhere
def doctor() -> int:
    """Check ledger, store, model, disk and work, and say what to do.

    Exits with 1 if something is broken.
    """
    settings = options.settings()
    from vectorflow.cli.checks import examine
    from vectorflow.cli.place import show_place

    show_place(settings)
    findings = asyncio.run(examine(settings))
    healthy = all(finding.state != "broken" for finding in findings)
    if options.as_json():
        output.print_json({"healthy": healthy, "findings": findings})
    else:
        for finding in findings:
            _show(finding)
    return DONE if healthy else ERROR


def _show(finding: "Finding") -> None:
    from rich.table import Table
    from rich.text import Text

    text = Text(output.plain(finding.text))
    if finding.fix:
        text.append(f"\nfix: {output.plain(finding.fix)}", "green")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=7, no_wrap=True)
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(finding.state, STYLES[finding.state]), Text(finding.part, "dim"), text)
    output.show(grid)
