"""`vectorflow tenants`: how much each gets where others want something too."""

from functools import partial
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output
from vectorflow.domain.fairness import HEAVIEST, LIGHTEST

if TYPE_CHECKING:
    from vectorflow.wiring import Parts


@click.group()
@options.everywhere
def tenants() -> None:
    """Look at tenants, and weigh them."""


@tenants.command("list")
@options.database
@options.everywhere
def list_tenants() -> None:
    """List the tenants that ever sent something, with their weights."""
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger import shares

    async def read(parts: "Parts") -> dict[str, float]:
        return await parts.database.read(shares.weights)

    found = with_parts(read)
    if options.as_json():
        output.print_json({"tenants": [_view(name, weight) for name, weight in found.items()]})
        return
    for name, weight in found.items():
        output.echo(f"{output.plain(name)}  weight {weight:g}")
    if not found:
        click.echo("no tenant has sent anything yet", err=True)


@tenants.command(short_help="Set the weight of a tenant.")
@click.argument("tenant")
@click.option(
    "--weight",
    required=True,
    type=click.FloatRange(LIGHTEST, HEAVIEST),
    help="A tenant of weight 2 gets twice as much as one of weight 1.",
)
@options.database
@options.everywhere
def weigh(tenant: str, weight: float) -> None:
    """Set how much a tenant gets where others want something too; 1 is usual.

    It counts for what is sent from now on, in every process at once.
    """
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger import shares

    async def write(parts: "Parts") -> None:
        await parts.database.write(partial(shares.weigh, tenant=tenant, weight=weight))

    with options.refusing():
        with_parts(write)
    if options.as_json():
        output.print_json(_view(tenant, weight))
    else:
        output.echo(f"{output.plain(tenant)}  weight {weight:g}")


def _view(name: str, weight: float) -> dict[str, object]:
    return {"tenant": name, "weight": weight}
