"""`vectorflow failures`: dead letters by cause, with what to do, and another try for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vectorflow.cli import follow, options, output, place
from vectorflow.cli.exit_codes import DONE

if TYPE_CHECKING:
    from vectorflow.ledger.reads import FailureView

SHOWN = 20
"""Documents of one cause that are named; `--json` gives all."""


READ = "read"
"""The stage of what failed before its bytes were here: there is nothing to try again."""

cause = click.option("--cause", metavar="CODE", help="Only failures with this code.")
canary = click.option(
    "--canary",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only so many, the oldest, to see what becomes of them.",
)


class ListedByDefault(click.Group):
    """`failures 7` is short for `failures list 7`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take what is no command for an argument of `list`."""
        known = args[:1] and args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["list", *args])


@click.group(
    cls=ListedByDefault,
    invoke_without_command=True,
    subcommand_metavar="[JOB] | COMMAND [ARGS]...",
    short_help="Show what failed, by cause, with the fix; try it again.",
)
@options.tenant("Whose they are.")
@options.database
@options.everywhere
@click.pass_context
def failures(context: click.Context) -> None:
    """Show what failed, by cause, with the fix; try it again, or give it up.

    Without a command, the failures of one JOB, or all that no later version has replaced.
    """
    if context.invoked_subcommand is None:
        _list(None)


@failures.command("list", short_help="Show what failed, by cause, with the fix.")
@click.argument("job", required=False, type=click.IntRange(min=1))
@options.tenant("Whose they are.")
@options.database
@options.everywhere
def list_failures(job: int | None) -> None:
    """Show the documents that failed, by cause, with the fix.

    Of one JOB, or all that no later version has replaced.
    """
    _list(job)


@failures.command(short_help="Try failures again.")
@click.argument("job", required=False, type=click.IntRange(min=1))
@cause
@canary
@follow.wait
@options.tenant("Whose they are.")
@options.database
@options.everywhere
def retry(job: int | None, cause: str | None, canary: int | None, wait: bool) -> int:
    """Try failures again, of one JOB or of all, in the jobs that they came with.

    What could not even be read when it came has to be sent again.
    """
    return retry_and_show(job, cause, canary, wait=wait)


@failures.command(short_help="Give failures up for good.")
@click.argument("job", required=False, type=click.IntRange(min=1))
@cause
@click.option("--all", "every", is_flag=True, help="All failures of the tenant, of all its jobs.")
@options.tenant("Whose they are.")
@options.database
@options.everywhere
def discard(job: int | None, cause: str | None, every: bool) -> None:
    """Give failures up for good: they are listed no more, and their bytes are let go of.

    What failed counts as failed all the same.
    """
    if job is None and cause is None and not every:
        raise options.Refused("which failures?", fix="give a JOB, --cause CODE or --all")
    with place.opened() as flow:
        discarded = flow.discard(job, cause=cause)
    if options.as_json():
        output.print_json({"discarded": discarded})
    else:
        output.echo(f"{output.count(discarded, 'failure')} discarded")


def retry_and_show(job: int | None, cause: str | None, canary: int | None, *, wait: bool) -> int:
    """Try failures again and say what becomes of them; gives the exit code."""
    with place.opened() as flow:
        retried = flow.retry(job, cause=cause, canary=canary)
        if wait:
            views = follow.follow(flow, retried.jobs)
        else:
            views = [flow.job(one) for one in retried.jobs]
            follow.warn_if_nobody_works(flow)
    if options.as_json():
        output.print_json({"documents": retried.documents, "jobs": views})
    else:
        output.echo(f"{output.count(retried.documents, 'document')} tried again")
        follow.show_ends(views)
    return follow.exit_code(views) if wait else DONE


def _list(job: int | None) -> None:
    with place.opened() as flow:
        if job is not None:
            flow.job(job)  # an unknown job is an error, not an empty list
        found = flow.failures(job)
    if options.as_json():
        output.print_json({"failures": found})
        return
    show_causes(found, job)
    if not found:
        click.echo("nothing has failed", err=True)


def show_causes(found: "Sequence[FailureView]", job: int | None) -> None:
    """Print failures grouped by cause, the most frequent first; those of one job, or of all."""
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
            name = output.plain(failure.external_id)
            rows.append(Text(f"  {name}").append(f"  {served(failure)}, job {failure.job}", "dim"))
            rows.append(Text(f"    {output.plain(failure.message)}", "dim"))
        if len(group) > SHOWN:
            rows.append(Text(f"  and {len(group) - SHOWN:,} more; --json lists all", "dim"))
        if first.fix:
            rows.append(Text(f"  fix: {output.plain(first.fix)}", "green"))
        if first.stage != READ:
            again = f"failures retry {job or ''}".rstrip() + f" --cause {first.code}"
            rows.append(Text(f"  then: {place.command_line(again, settings=place.LEDGER)}"))
        output.show(Group(*rows))
