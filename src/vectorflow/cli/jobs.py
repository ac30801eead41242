"""`vectorflow jobs`: what was asked for, and how it stands."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output, place
from vectorflow.cli.failures import show_causes

if TYPE_CHECKING:
    from vectorflow.ledger.reads import JobView

STYLES = {"completed": "green", "partial": "yellow", "failed": "red", "running": "cyan"}


@click.group()
@options.everywhere
def jobs() -> None:
    """Look at jobs."""


@jobs.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), metavar="N")
@options.database
@options.everywhere
def list_jobs(limit: int) -> None:
    """List the newest jobs."""
    with place.opened() as flow:
        found = flow.jobs(limit=limit)
    if options.as_json():
        output.print_json({"jobs": found})
    elif found:
        _show_table(found)
    else:
        click.echo("there are no jobs yet; make one with: vectorflow embed PATH", err=True)


@jobs.command("show")
@click.argument("id", type=click.IntRange(min=1))
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
    show_causes(failures)


def when(at: float) -> str:
    """Write a time of the ledger as people here write it."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


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
    if job.error:
        facts["error"] = f"{job.error.get('message')}; {job.error.get('fix')}"
    return facts
