"""`vectorflow reconcile`: whether ledger, files and stores say the same."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vectorflow.cli import ledger, options, output
from vectorflow.cli.exit_codes import DONE, ERROR

if TYPE_CHECKING:
    from vectorflow.service.reconcile import Difference, Report
    from vectorflow.wiring import Parts


@click.command(short_help="Check that ledger, files and stores say the same.")
@click.option("--index", "name", metavar="NAME", help="Only this index; else all there are.")
@options.store
@options.database
@options.everywhere
def reconcile(name: str | None) -> int:
    """Compare the ledger with itself, with the files it refers to, and with the vector stores.

    Nothing is changed, and work may go on meanwhile. It reads all of the ledger and the ids of all
    records. Exits with 1 if something differs.
    """
    ledger.demand_ledger(options.settings())

    async def compare(parts: "Parts") -> "Report":
        return await parts.reconcile(name)

    report = ledger.with_parts(compare)
    if options.as_json():
        output.print_json({"clean": not report.differences} | asdict(report))
    else:
        _show(report)
    return ERROR if report.differences else DONE


def _show(report: "Report") -> None:
    found = {difference.where for difference in report.differences}
    for where in report.compared:
        if where not in found:
            output.show(output.labelled("ok", output.plain(where), "green"))
    for where in report.unchecked:
        text = f"{where}: its store cannot list what it holds"
        output.show(output.labelled("skipped", output.plain(text), "yellow"))
    for difference in report.differences:
        output.show(output.labelled("differs", output.plain(_sentence(difference)), "bold red"))


def _sentence(difference: "Difference") -> str:
    examples = ", ".join(difference.examples)
    return f"{difference.where}: {difference.what} ({difference.count:,}): {examples}"
