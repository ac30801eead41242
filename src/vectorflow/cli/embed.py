"""`vectorflow embed`: files, directories, globs and stdin into an index."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import click

from vectorflow.cli import inputs, options, out, output
from vectorflow.cli.exit_codes import DONE, JOB_FAILED, PARTIAL

if TYPE_CHECKING:
    from vectorflow.flow import EmbedOptions, Flow, Input, Report
    from vectorflow.settings import Settings

INTERRUPT_GRACE = 3.0
"""Seconds that Ctrl-C waits for work under way, unless the setting says otherwise."""


@click.command(short_help="Embed files, directories, globs or stdin.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--id", "stdin_id", metavar="ID", help="Name of the document on stdin.  [default: stdin]"
)
@click.option(
    "--scope", metavar="NAME", help="Name of what the directory lists.  [default: its own]"
)
@click.option("--allow-delete", is_flag=True, help="Delete even if over half is gone.")
@click.option(
    "--dry-run", is_flag=True, help="Tell what would be done and what it costs; do nothing."
)
@click.option(
    "--metadata",
    multiple=True,
    type=options.KeyValue(),
    help="Keep this on every record. Repeatable.",
)
@out.option
@options.index
@options.chunker
@options.chunk_size("--chunk-size")
@options.chunk_overlap("--chunk-overlap")
@options.embedder
@options.store
@options.database
@options.everywhere
def embed(
    paths: tuple[str, ...],
    stdin_id: str | None,
    scope: str | None,
    allow_delete: bool,
    dry_run: bool,
    metadata: tuple[tuple[str, object], ...],
) -> int:
    """Embed files, directories, globs or stdin (-), and make them searchable.

    Only what is new or changed is embedded. A directory is synchronised: what is gone from it is
    deleted from the index; files, globs and stdin never delete.
    """
    from vectorflow.flow import EmbedOptions

    _refuse_what_is_no_path(paths, stdin_id)
    target = out.asked_for(paths, dry_run=dry_run)
    settings = _hasty(options.settings())
    _show_place(settings)
    wanted = EmbedOptions(scope=scope, metadata=dict(metadata), allow_delete=allow_delete)
    source = inputs.stdin(stdin_id or "stdin") if paths == ("-",) else list(paths)
    run = _Run(settings, source, wanted, target)
    return _estimate(run) if dry_run else _embed(run)


class _Run(NamedTuple):
    settings: "Settings"
    source: "Input"
    options: "EmbedOptions"
    out: "out.Out | None"

    def opened(self) -> "Flow":
        from vectorflow.flow import Flow

        return Flow(self.settings)


def _embed(run: _Run) -> int:
    from vectorflow.cli.interrupts import orderly
    from vectorflow.cli.progress import display

    written: int | None = None
    with display() as shown, orderly(shown.stop), run.opened() as flow:
        report = flow.embed(run.source, options=run.options, on_progress=shown.update)
        if run.out is not None:
            records = flow.export(index=report.index, documents=report.listed, scope=report.scope)
            written = out.write(run.out, records, shown.wrote)
    _show(run, report, written)
    return exit_code(report)


def _show(run: _Run, report: "Report", written: int | None) -> None:
    """Print the report, on stderr where the records are on stdout."""
    from vectorflow.cli.report import show_report

    if options.as_json():
        output.print_json(_as_json(report) | _as_json_out(run, written))
        return
    with redirect_stdout(sys.stderr) if run.out and run.out.path is None else nullcontext():
        show_report(report, local=_is_local(run.settings))
        if run.out is not None and written is not None:
            where = "on stdout" if run.out.path is None else f"in {output.plain(run.out.name)}"
            output.show(output.labelled("out", f"{output.count(written, 'record')} {where}"))


def _estimate(run: _Run) -> int:
    from vectorflow.cli.report import estimate_json, show_estimate

    with run.opened() as flow:
        estimate = flow.estimate(run.source, options=run.options)
    local = _is_local(run.settings)
    if options.as_json():
        output.print_json(estimate_json(estimate, local=local))
    else:
        show_estimate(estimate, local=local)
    return DONE


def exit_code(report: "Report") -> int:
    """Tell a script how the job ended."""
    return {"completed": DONE, "partial": PARTIAL}.get(report.status, JOB_FAILED)


def _as_json(report: "Report") -> dict[str, object]:
    names = (
        "job_id", "status", "documents", "records", "new", "changed", "unchanged", "gone",
        "failed", "chunks_embedded", "embedding_calls", "tokens", "seconds", "failures",
    )  # fmt: skip
    shown: dict[str, object] = {name: getattr(report, name) for name in names}
    return shown | {"paused": report.paused} if report.paused else shown


def _as_json_out(run: _Run, written: int | None) -> dict[str, object]:
    return {} if run.out is None else {"out": run.out.name, "records_written": written}


def _show_place(settings: "Settings") -> None:
    from vectorflow.cli.place import show_place
    from vectorflow.cli.worker import seat_holder
    from vectorflow.wiring import make_recipe, store_locator

    with options.refusing():
        store_locator(settings.store_url)
        recipe = make_recipe(settings)
    show_place(settings, recipe)
    if not settings.database.url and (pid := seat_holder(settings)):
        click.echo(f"process {pid} works on this data directory and embeds this too", err=True)


def _is_local(settings: "Settings") -> bool:
    from vectorflow.wiring import make_embedder

    return not make_embedder(settings, settings.embedder).limits.paid


def _hasty(settings: "Settings") -> "Settings":
    """Let Ctrl-C give the prompt back soon; what it breaks off is done again."""
    if "worker.shutdown_grace" in settings.origins:
        return settings
    return replace(settings, worker=replace(settings.worker, shutdown_grace=INTERRUPT_GRACE))


def _refuse_what_is_no_path(paths: Sequence[str], stdin_id: str | None) -> None:
    if "-" in paths and len(paths) > 1:
        raise options.Refused(
            "stdin (-) cannot stand beside other paths", fix="run one command for each"
        )
    if stdin_id is not None and tuple(paths) != ("-",):
        raise options.Refused(
            "--id names the document on stdin", fix="give - as the path, or leave --id out"
        )
    inputs.refuse_addresses(paths, "embed - --id")
