"""`vectorflow secrets`: keys of providers and stores, kept sealed in the ledger."""

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output
from vectorflow.cli.exit_codes import DONE, ERROR
from vectorflow.cli.jobs import when

if TYPE_CHECKING:
    from vectorflow.ledger.secrets import SecretView
    from vectorflow.service.secrets import Resealed
    from vectorflow.wiring import Parts

_LONGEST = 8192
"""Characters that are read of stdin: more than any key has."""


@click.group()
@options.everywhere
def secrets() -> None:
    """Keep keys of providers and stores, sealed."""


@secrets.command("set", short_help="Keep the key of a provider or store.")
@click.argument("name")
@options.tenant("Whose jobs use it.")
@options.database
@options.everywhere
def set_secret(name: str) -> None:
    """Keep the key of the embedder or store NAME, in the place of an earlier one.

    It is read from stdin, or asked for; it is never an argument, which others on the machine could
    see. A request that brings its own key uses that one.
    """
    with options.refusing():
        _check_name(name)
    value = _read_value(name)
    from vectorflow.cli.ledger import with_parts
    from vectorflow.service.secrets import keep_secret

    async def keep(parts: "Parts") -> None:
        whose = parts.tenant
        await keep_secret(parts.database, parts.secrets, tenant=whose, name=name, secret=value)

    with options.refusing():
        with_parts(keep)
    if options.as_json():
        output.print_json({"name": name})
    else:
        output.echo(f"the key of {name} is kept, sealed")


@secrets.command("list")
@options.tenant("Whose they are.")
@options.database
@options.everywhere
def list_secrets() -> None:
    """List the names of what is kept; the keys themselves are never shown."""
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger import secrets as ledger

    async def read(parts: "Parts") -> "list[SecretView]":
        return await parts.database.read(partial(ledger.list_secrets, tenant=parts.tenant))

    found = with_parts(read)
    if options.as_json():
        output.print_json({"secrets": found})
    elif found:
        _show_table(found)
    else:
        click.echo("no keys are kept; keep one with: vectorflow secrets set NAME", err=True)


@secrets.command()
@click.argument("name")
@options.tenant("Whose it is.")
@options.database
@options.everywhere
def delete(name: str) -> None:
    """Forget the key of a provider or store."""
    from vectorflow.cli.ledger import with_parts
    from vectorflow.ledger import secrets as ledger

    async def drop(parts: "Parts") -> None:
        await parts.database.write(partial(ledger.drop_secret, tenant=parts.tenant, name=name))

    with_parts(drop)
    if options.as_json():
        output.print_json({"deleted": name})
    else:
        output.echo(f"the key of {output.plain(name)} is forgotten")


@secrets.command("make-key", short_help="Print a fresh key to seal with.")
@options.everywhere
def make_key() -> None:
    """Print a fresh key to seal with, for VECTORFLOW_SECRETS__KEY; nothing is kept."""
    from vectorflow.adapters.secret_stores.aesgcm import new_key

    key = new_key()
    if options.as_json():
        output.print_json({"key": key})
    else:
        output.echo(key)


@secrets.command(short_help="Seal everything anew with the newest key.")
@options.database
@options.everywhere
def rotate() -> int:
    """Seal everything anew with the newest key, so that older ones can go.

    Set VECTORFLOW_SECRETS__KEY to the new and the old key with a comma between before, for every
    process that uses the ledger.
    """
    from vectorflow.cli.ledger import with_parts
    from vectorflow.service.secrets import reseal_all

    async def reseal(parts: "Parts") -> "Resealed":
        return await reseal_all(parts.database, parts.secrets)

    done = with_parts(reseal)
    if options.as_json():
        output.print_json(done)
    else:
        output.echo(f"{output.count(done.resealed, 'sealed text')} sealed anew")
        if done.unsealable:
            _tell_of_unsealable(done.unsealable)
    return ERROR if done.unsealable else DONE


def _tell_of_unsealable(number: int) -> None:
    from vectorflow.errors import Unsealable

    lost = output.count(number, "sealed text")
    message = f"{lost} could not be opened with any key, and stay as they are"
    output.show_error(output.fault_of(Unsealable(message)), as_json=False)


def _check_name(name: str) -> None:
    """Refuse a name that no embedder or store has: a key under it would never be used.

    Raises:
        UnknownPlugin: Names those there are.
    """
    from difflib import get_close_matches

    from vectorflow import plugins
    from vectorflow.errors import UnknownPlugin

    known = [*plugins.names("embedders"), *plugins.names("vector_stores")]
    if name not in known:
        unknown = UnknownPlugin("embedder or store", name, known)
        if near := get_close_matches(name, known, n=1):
            unknown.fix = f"did you mean {near[0]!r}?"
        raise unknown


def _read_value(name: str) -> str:
    if sys.stdin.isatty():
        value: str = click.prompt(f"key of {name}", hide_input=True, err=True)
        return value.strip()
    return sys.stdin.read(_LONGEST).strip()


def _show_table(found: "list[SecretView]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=True)
    table.add_column("set", no_wrap=True)
    for view in found:
        table.add_row(output.plain(view.name), when(view.created_at))
    output.show(table)
