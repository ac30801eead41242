"""`vectorflow config`: what is set, and from where."""

import click

from vectorflow.cli import options, output


@click.group()
@options.everywhere
def config() -> None:
    """Show the settings."""


@config.command("show")
@options.everywhere
@options.database
@options.store
@options.embedder
@options.index
def show() -> None:
    """List all settings with their values and where each comes from.

    Secrets are hidden. A flag beats the environment, the environment beats vectorflow.toml.
    """
    from rich.table import Table
    from rich.text import Text

    from vectorflow.settings import explain

    rows = explain(options.settings())
    if options.as_json():
        found = {row.name: {"value": row.value, "origin": row.origin} for row in rows}
        output.print_json({"settings": found})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for row in rows:
        is_set = row.origin != "default"
        style = "bold" if is_set else "dim"
        table.add_row(row.name, Text(row.value, style), Text(row.origin, "" if is_set else "dim"))
    output.show(table)
