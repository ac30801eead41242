"""`vectorflow jobs`: what was asked for, how it stands, and whether it goes on."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from vectorflow.cli import follow, options, output, place
from vectorflow.cli.exit_codes import DONE
from vectorflow.cli.failures import canary, cause, retry_and_show, show_causes
from vectorflow.domain.access import DEFAULT_TENANT

if TYPE_CHECKING:
    from vectorflow.ledger.reads import JobView

STYLES = {
    "completed": "green",
    "partial": "yellow",
    "paused": "yellow",
    "failed": "red",
    "running": "cyan",
}

MOST = 1_000_000
"""Jobs that are looked through at once."""


@click.group()
@options.everywhere
def jobs() -> None:
    """Look at jobs; pause, resume, cancel and retry them."""


@jobs.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), metavar="N")
@options.tenant("Whose they are.")
@options.database
@options.everywhere
def list_jobs(limit: int) -> None:
    """List the newest jobs of a tenant."""
    with place.opened() as flow:
        found = flow.jobs(limit=limit)
    if options.as_json():
        output.print_json({"jobs": found})
    elif found:
        _show_table(found)
    elif (tenant := options.given_tenant()) != DEFAULT_TENANT:
        about = f"tenant {output.plain(tenant)} has no jobs"
        click.echo(f"{about}; for those that have: vectorflow tenants list", err=True)
    else:
        click.echo("there are no jobs yet; make one with: vectorflow embed PATH", err=True)


@jobs.command("show")
@click.argument("id", type=click.IntRange(min=1))
@options.tenant("Whose it is.")
@options.database
@options.everywhere
def show_job(id: int) -> None:
    """Show how a job stands."""
    with place.opened() as flow:
        job = flow.job(id)
        failures = flow.failures(id)
    if options.as_json():
        output.print_json({"job": job, "failures": failures})
        return
    for label, text in _facts(job).items():
        output.show(output.labelled(label, text))
    show_causes(failures, id)


@jobs.command(short_help="Let a job wait.")
@click.argument("id", type=click.IntRange(min=1))
@options.tenant("Whose it is.")
@options.database
@options.everywhere
def pause(id: int) -> None:
    """Let a job wait: what is under way ends, and nothing more of it begins."""
    with place.opened() as flow:
        job = flow.pause(id)
    _show_state(job, f"{place.command_line(f'jobs resume {id}', settings=place.LEDGER)} goes on")


@jobs.command(short_help="Let a paused job go on.")
@click.argument("id", type=click.IntRange(min=1), required=False)
@click.option("--all", "every", is_flag=True, help="Resume all jobs of the tenant that are paused.")
@follow.wait
@options.tenant("Whose it is.")
@options.database
@options.everywhere
def resume(id: int | None, every: bool, wait: bool) -> int:
    """Let a paused job go on, once what it waited for is mended."""
    if (id is None) is not every:
        raise options.Refused("which job?", fix="give the ID of one, or --all")
    with place.opened() as flow:
        ids = [job.id for job in flow.jobs(limit=MOST) if job.paused] if every else [id or 0]
        views = [flow.resume(job) for job in reversed(ids)]
        if wait:
            views = follow.follow(flow, [view.id for view in views])
        elif views:
            follow.warn_if_nobody_works(flow)
    if options.as_json():
        output.print_json({"jobs": views})
    elif views:
        follow.show_ends(views)
    else:
        click.echo("no job is paused", err=True)
    return follow.exit_code(views) if wait else DONE


@jobs.command(short_help="End a job.")
@click.argument("id", type=click.IntRange(min=1))
@options.tenant("Whose it is.")
@options.database
@options.everywhere
def cancel(id: int) -> None:
    """End a job: what is searchable stays so, and the rest is given up.

    What was stored of documents that are not whole is deleted.
    """
    with place.opened() as flow:
        job = flow.cancel(id)
    _show_state(job, "what is searchable stays so")


@jobs.command(short_help="Try again what failed in a job.")
@click.argument("id", type=click.IntRange(min=1))
@cause
@canary
@follow.wait
@options.tenant("Whose it is.")
@options.database
@options.everywhere
def retry(id: int, cause: str | None, canary: int | None, wait: bool) -> int:
    """Try again what failed in a job, which is the same job afterwards."""
    return retry_and_show(id, cause, canary, wait=wait)


def when(at: float) -> str:
    """Write a time of the ledger as people here write it."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _show_state(job: "JobView", note: str) -> None:
    if options.as_json():
        output.print_json({"job": job})
    else:
        output.echo(f"job {job.id} is {job.state.value}; {note}")


def _show_table(found: "list[JobView]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("job", "done", "failed", "new records"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("state", "index", "scope", "began"):
        table.add_column(name, no_wrap=name != "scope", overflow="fold")
    for job in found:
        table.add_row(
            str(job.id),
            _share(job),
            f"{job.docs_failed:,}",
            f"{job.records_new:,}",
            Text(job.state, STYLES.get(job.state, "")),
            output.plain(job.index),
            output.plain(job.scope),
            when(job.created_at),
        )
    output.show(table)


def _share(job: "JobView") -> str:
    total = "?" if job.docs_total is None else f"{job.docs_total:,}"
    return f"{job.docs_done:,}/{total}"


def _facts(job: "JobView") -> dict[str, str]:
    ended = f", ended {when(job.ended_at)}" if job.ended_at else ""
    facts = {
        "job": f"{job.id}, index {output.plain(job.index)}",
        "state": job.state.value,
        "time": f"began {when(job.created_at)}{ended}",
        "files": f"{_share(job)} done, {job.docs_failed:,} failed, "
        f"{job.documents_unchanged:,} unchanged, {job.documents_gone:,} gone",
        "records": f"+{job.records_new:,} new, -{job.records_old:,} old",
        "embedded": f"{output.count(job.chunks_embedded, 'chunk')} in "
        f"{output.count(job.embedding_calls, 'call')}, {output.count(job.tokens, 'token')}",
    }
    if job.cleanup_open:
        count = output.count(job.cleanup_open, "batch", "batches")
        facts["clean-up"] = f"{count} of old records still to be deleted"
    if job.waiting:
        facts["waits"] = output.waits(job.waiting)
    if job.paused:
        facts["paused"] = f"{job.paused['message']}; {job.paused['fix']}"
    if job.error:
        facts["error"] = f"{job.error.get('message')}; {job.error.get('fix')}"
    return facts
