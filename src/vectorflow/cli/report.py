"""What an embed did, or would do."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from vectorflow.cli import output
from vectorflow.cli.place import LEDGER, command_line

if TYPE_CHECKING:
    from rich.text import Text

    from vectorflow.flow import Report
    from vectorflow.ledger.reads import FailureView
    from vectorflow.service.estimate import Estimate

STYLES = {"completed": "bold green", "partial": "bold yellow", "paused": "bold yellow"}

NAMES_SHOWN = 3
"""Failed documents of one cause that are named."""


def show_report(report: "Report", *, local: bool) -> None:
    """Print what a job did, and what to do next."""
    from rich.console import Group
    from rich.text import Text

    status = Text(report.status.upper(), STYLES.get(report.status, "bold red"))
    rows = [
        status.append(f"  {headline(report)}, {report.seconds:.1f} s, job {report.job_id}", "none"),
        _row("records", _records(report, local=local)),
    ]
    for error in filter(None, (report.error, report.paused)):
        rows += _error(error)
    for group in causes(report.failures):
        rows += _cause(group)
    next_steps = [command_line('search "your question"')]
    if report.failures:
        next_steps.append(command_line(f"failures {report.job_id}", settings=LEDGER))
    output.show(Group(*rows))
    one_line = "     |     ".join(next_steps)
    fits = len(one_line) + output.MARGIN <= output.stdout().width
    for label, step in zip(["next", ""], [one_line] if fits else next_steps, strict=False):
        output.show(output.labelled(label, step))


def headline(report: "Report") -> str:
    """Say in a few words what became of the documents."""
    todo = report.new + report.changed
    if report.paused:
        return f"{output.count(todo, 'file')} accepted, and kept until the job goes on"
    if not todo and report.gone:
        return f"{output.count(report.gone, 'file')} deleted"
    if not todo:
        return f"nothing to do: {output.count(report.documents, 'file')} unchanged"
    verb = "is" if todo == 1 else "are"
    if report.failed:
        return f"{todo - report.failed:,} of {output.count(todo, 'file')} {verb} searchable"
    return f"{output.count(todo, 'file')} {verb} searchable"


def causes(failures: "tuple[FailureView, ...]") -> "list[list[FailureView]]":
    """Group failures by their cause, the most frequent first."""
    groups: dict[tuple[str, str, str], list[FailureView]] = {}
    for failure in failures:
        groups.setdefault((failure.code, failure.stage, failure.fix), []).append(failure)
    return sorted(groups.values(), key=len, reverse=True)


def served(failure: "FailureView") -> str:
    """Say what a search gives of a document that failed."""
    if failure.served_version is None:
        return "not searchable"
    return f"version {failure.served_version} is still served"


def cost(tokens: int, *, local: bool) -> str:
    """Say what tokens cost; only who bills them knows the price of others."""
    return (
        f"{'$0.00 local' if local else 'billed by the provider'}, {output.count(tokens, 'token')}"
    )


def show_estimate(estimate: "Estimate", *, local: bool) -> None:
    """Print what an embed would do."""
    from rich.console import Group
    from rich.text import Text

    facts = ("new", "changed", "unchanged", "gone", "failed")
    numbers = {name: getattr(estimate, name) for name in facts}
    told = [f"{number:,} {name}" for name, number in numbers.items() if number or name == "new"]
    rows = [
        Text("DRY RUN", "bold cyan").append("  nothing was changed", "none"),
        _row("scan", Text("   ".join([output.count(estimate.documents, "file"), *told]))),
        _row("embed", Text(f"{output.count(estimate.chunks, 'chunk')}")),
        _row("cost", Text(cost(estimate.tokens, local=local))),
    ]
    known = estimate.unchanged + estimate.changed + estimate.gone
    if estimate.gone * 2 > known:
        rows.append(_row("", Text("over half is gone: this needs --allow-delete", "yellow")))
    output.show(Group(*rows))


def estimate_json(estimate: "Estimate", *, local: bool) -> dict[str, object]:
    """Give an estimate to machines; a price that is not known is null."""
    return {"dry_run": True, **asdict(estimate), "price_usd": 0.0 if local else None}


def _records(report: "Report", *, local: bool) -> "Text":
    from rich.text import Text

    text = Text(f"{report.records:,}")
    if report.records_new:
        text.append(f"   +{report.records_new:,} new", "green")
    if report.records_old:
        text.append(f"  -{report.records_old:,} old", "red")
    text.append(" " * max(4, 33 - len(text)))
    return text.append("cost  ", "dim").append(cost(report.tokens, local=local), "none")


def _error(error: "Mapping[str, object]") -> "list[Text]":
    """Say why a job is not complete, or waits, though no document is to blame."""
    from rich.text import Text

    rows = [_row("error", Text(output.plain(str(error["message"])), "red"))]
    fix = output.plain(str(error.get("fix") or ""))
    return [*rows, _row("", Text(f"fix: {fix}", "green"))] if fix else rows


def _cause(group: "list[FailureView]") -> "list[Text]":
    """Name the documents that failed for one cause, and the fix once."""
    from rich.text import Text

    rows: list[Text] = []
    for number, failure in enumerate(group[:NAMES_SHOWN]):
        text = Text(f"{output.plain(failure.external_id)}  ")
        text.append(f"{failure.code}: ", "red").append(served(failure), "none")
        rows.append(_row("" if number else "failed", text))
    if len(group) > NAMES_SHOWN:
        rows.append(_row("", Text(f"and {len(group) - NAMES_SHOWN:,} more", "dim")))
    if group[0].fix:
        rows.append(_row("", Text(f"fix: {output.plain(group[0].fix)}", "green")))
    return rows


def _row(label: str, text: "Text") -> "Text":
    from rich.text import Text

    return Text(f"  {label:<9}", "dim").append_text(text)
