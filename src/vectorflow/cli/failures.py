"""`vectorflow failures`: dead letters by cause, with what to do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output, place

if TYPE_CHECKING:
    from vectorflow.ledger.reads import FailureView

SHOWN = 20
"""Documents of one cause that are named; `--json` gives all."""


@click.command(short_help="Show what failed, by cause, with the fix.")
@click.argument("job", required=False, type=click.IntRange(min=1))
@options.database
@options.everywhere
def failures(job: int | None) -> None:
    """Show the documents that failed, by cause, with the fix.

    Of one JOB, or all that no later version has replaced.
    """
    with place.opened() as flow:
        if job is not None:
            flow.job(job)  # an unknown job is an error, not an empty list
        found = flow.failures(job)
    if options.as_json():
        output.print_json({"failures": found})
        return
    show_causes(found)
    if not found:
        click.echo("nothing has failed", err=True)


def show_causes(found: "Sequence[FailureView]") -> None:
    """Print failures grouped by cause, the most frequent first."""
    from rich.console import Group
    from rich.text import Text

    from vectorflow.cli.report import causes, served

    for group in causes(tuple(found)):
        first = group[0]
        rows = [
            Text(first.code, "bold red").append(
                f"  {output.count(len(group), 'file')}, stage {first.stage}", "dim"
            )
        ]
        for failure in group[:SHOWN]:
            name, job = output.plain(failure.external_id), f"job {failure.job}"
            rows.append(Text(f"  {name}").append(f"  {served(failure)}, {job}", "dim"))
            rows.append(Text(f"    {output.plain(failure.message)}", "dim"))
        if len(group) > SHOWN:
            rows.append(Text(f"  and {len(group) - SHOWN:,} more; --json lists all", "dim"))
        if first.fix:
            rows.append(Text(f"  fix: {output.plain(first.fix)}", "green"))
        output.show(Group(*rows))
