"""Work on jobs that go on again, or say who will."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vectorflow.cli import output
from vectorflow.cli.exit_codes import DONE, JOB_FAILED, PARTIAL
from vectorflow.cli.place import LEDGER, command_line

if TYPE_CHECKING:
    from vectorflow.flow import Flow
    from vectorflow.ledger.reads import JobView

wait = click.option(
    "--wait", is_flag=True, help="Work here until it has ended; the exit code says how."
)


def follow(flow: "Flow", ids: Sequence[int]) -> "list[JobView]":
    """Work until these jobs have ended or are paused, one after the other."""
    from vectorflow.cli.interrupts import orderly
    from vectorflow.cli.progress import display

    with display() as shown, orderly(shown.stop):
        return [flow.follow(job, on_progress=shown.update) for job in ids]


def show_ends(views: "Sequence[JobView]") -> None:
    """Say how jobs stand now, and what to do about those that are not completed."""
    for view in views:
        output.echo(
            f"job {view.id} is {view.state.value}: {view.docs_done:,} done,"
            f" {view.docs_failed:,} failed"
        )
        if view.paused:
            output.echo(f"  {view.paused['message']}")
            output.echo(f"  fix: {view.paused['fix']}")
        elif view.docs_failed:
            output.echo(f"  next: {command_line(f'failures {view.id}', settings=LEDGER)}")


def exit_code(views: "Sequence[JobView]") -> int:
    """Tell a script how the worst of these jobs ended."""
    states = {view.state.value for view in views}
    if states <= {"completed"}:
        return DONE
    return PARTIAL if states <= {"completed", "partial"} else JOB_FAILED


def warn_if_nobody_works(flow: "Flow") -> None:
    """Say on stderr how the work gets done where no process does it now."""
    from vectorflow.cli.worker import seat_holder

    settings = flow.settings
    if not settings.database.url and seat_holder(settings) is None:
        click.echo(
            "no process works on this data directory: add --wait, or start vectorflow worker",
            err=True,
        )
