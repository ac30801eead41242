"""`vectorflow keys`: who may use the API, for what and for how long."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output
from vectorflow.cli.jobs import when
from vectorflow.domain.access import DEFAULT_TENANT, KeyScope

if TYPE_CHECKING:
    from vectorflow.ledger.keys import KeyView, NewKey
    from vectorflow.wiring import Parts

STYLES = {"good": "green", "ending": "yellow", "expired": "red", "revoked": "red"}

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_LONGEST = 100 * 365 * 86400.0


class Duration(click.ParamType[float]):
    """A number with a unit: `30d`."""

    name = "TIME"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read seconds, minutes, hours, days or weeks."""
        match = re.fullmatch(r"(\d{1,9})([smhdw])", str(value))
        seconds = float(match[1]) * _UNITS[match[2]] if match else _LONGEST + 1
        if seconds > _LONGEST:
            self.fail(f"{value!r} is not a time, such as 90m, 24h or 30d", param, ctx)
        return seconds


@click.group()
@options.everywhere
def keys() -> None:
    """Make, list, rotate and revoke keys of the API."""


@keys.command(short_help="Make a key and print it, once.")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in KeyScope]),
    help="What it may do; may be given several times.  [default: admin, which is all]",
)
@click.option("--expires", type=Duration(), help="Time after which it ends, such as 30d.")
@options.tenant("Whose documents and jobs it is for.")
@options.database
@options.everywhere
def create(name: str, scopes: tuple[str, ...], expires: float | None) -> None:
    """Make a key and print it, once: only its hash is kept.

    `embed` uploads and deletes, `read` asks for jobs, searches and vectors, `work` is for workers
    that come over HTTP, `admin` is all of it.

    A key of a tenant sees nothing of others; there is no more to do to have a new tenant.
    """
    from vectorflow.ledger import keys as ledger

    given = [KeyScope(scope) for scope in scopes] or None
    _make(partial(ledger.issue_key, name=name, scopes=given, expires_in=expires))


@keys.command("list")
@click.option("--tenant", metavar="NAME", help="Only keys of this tenant.")
@options.database
@options.everywhere
def list_keys(tenant: str | None) -> None:
    """List all keys, also those that ended; none is shown itself."""
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger import keys as ledger

    async def read(parts: "Parts") -> "list[KeyView]":
        return await parts.database.read(partial(ledger.key_list, tenant=tenant))

    found = with_parts(read)
    if options.as_json():
        output.print_json({"keys": [asdict(view) for view in found]})
    elif found:
        _show_table(found)
    else:
        click.echo("there are no keys yet; make one with: vectorflow keys create NAME", err=True)


@keys.command(short_help="Make a key in the place of another.")
@click.argument("which", metavar="NAME|ID")
@click.option(
    "--overlap",
    type=Duration(),
    default="24h",
    show_default=True,
    help="Time for which the old key is still good; 0s ends it at once.",
)
@options.tenant("Whose key it is.")
@options.database
@options.everywhere
def rotate(which: str, overlap: float) -> None:
    """Make a key with the name, scopes and end of another; the old one ends after the overlap."""
    from vectorflow.ledger import keys as ledger

    _make(partial(ledger.rotate_key, which=which, overlap=overlap))


@keys.command(short_help="End a key at once.")
@click.argument("which", metavar="NAME|ID")
@options.tenant("Whose key it is.")
@options.database
@options.everywhere
def revoke(which: str) -> None:
    """End all keys of a name, or the one with an id; servers notice within seconds."""
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger import keys as ledger

    async def end(parts: "Parts") -> list[int]:
        revoke = partial(ledger.revoke_keys, tenant=parts.tenant, which=which)
        return await parts.database.write(revoke)

    ids = with_parts(end)
    if options.as_json():
        output.print_json({"revoked": ids})
    else:
        output.echo(f"revoked {_numbered(ids)}; servers notice within seconds")


def _make(make: "Callable[..., NewKey]") -> None:
    """Make a key and print it: alone on stdout, so that a script can take it from there."""
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger.keys import key_list

    async def made(parts: "Parts") -> "tuple[NewKey, KeyView]":
        new = await parts.database.write(partial(make, tenant=parts.tenant))
        views = await parts.database.read(partial(key_list, tenant=parts.tenant))
        return new, next(view for view in views if view.id == new.id)

    with options.refusing():
        new, view = with_parts(made)
    if options.as_json():
        output.print_json({"key": new.key, **asdict(view)})
        return
    output.echo(new.key)
    ends = f", until {when(view.expires_at)}" if view.expires_at else ""
    whose = "" if view.tenant == DEFAULT_TENANT else f" of tenant {output.plain(view.tenant)}"
    about = f"key {view.id}, {output.plain(view.name)}{whose}, for {_listed(view.scopes)}{ends}"
    click.echo(f"{about}; shown this once: keep it", err=True)


def _show_table(found: "list[KeyView]") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("key", justify="right", no_wrap=True)
    for name in ("tenant", "name", "may", "state", "made", "ends"):
        table.add_column(name, no_wrap=name not in {"tenant", "name"}, overflow="fold")
    for view in found:
        ends = min(filter(None, (view.expires_at, view.revoked_at)), default=None)
        table.add_row(
            str(view.id),
            output.plain(view.tenant),
            output.plain(view.name),
            _listed(view.scopes),
            Text(view.state, STYLES.get(view.state, "")),
            when(view.created_at),
            when(ends) if ends else "",
        )
    output.show(table)


def _listed(scopes: Sequence[KeyScope]) -> str:
    return ", ".join(scopes) or "nothing"


def _numbered(ids: Sequence[int]) -> str:
    return f"{'key' if len(ids) == 1 else 'keys'} {', '.join(map(str, ids))}"
