"""`vectorflow cache`: the vectors kept on this machine."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output, place

if TYPE_CHECKING:
    from vectorflow.adapters.vector_caches.files import FileVectorCache
    from vectorflow.ports.vector_cache import CacheView
    from vectorflow.settings import Settings


@click.group(
    invoke_without_command=True,
    short_help="Show or clear the vectors kept on this machine.",
)
@options.everywhere
@click.pass_context
def cache(context: click.Context) -> None:
    """Show what the cache of this machine holds, and how often it was of use."""
    if context.invoked_subcommand is None:
        _show()


@cache.command(short_help="Delete what is cached.")
@click.option("--tenant", metavar="NAME", help="Only vectors of this tenant.")
@options.everywhere
def clear(tenant: str | None) -> None:
    """Delete all cached vectors; what is embedded next is paid for again. Workers may run on."""
    from vectorflow.wiring.caches import cache_folder

    settings, kept = _opened()

    async def empty() -> int | None:
        try:
            if tenant is not None:
                return await kept.clear_tenant(tenant)
            await kept.clear()
        finally:
            await kept.close()
        return None

    vectors = asyncio.run(empty())
    if options.as_json():
        done = {"cleared": str(cache_folder(settings))}
        output.print_json(
            done if tenant is None else {**done, "tenant": tenant, "vectors": vectors}
        )
    elif tenant is None:
        output.echo("nothing is cached any more")
    else:
        gone = output.count(vectors or 0, "vector")
        output.echo(f"{gone} deleted; nothing of tenant {output.plain(tenant)} is cached any more")


def _show() -> None:
    from vectorflow.cli.checks import human

    settings, kept = _opened()
    bounds = settings.cache

    async def look() -> "CacheView":
        try:
            return await kept.view()
        finally:
            await kept.close()

    view = asyncio.run(look())
    asked = view.hits + view.misses
    rate = view.hits / asked if asked else None
    if options.as_json():
        given = {"max_bytes": int(bounds.max_bytes), "days": bounds.days, "hit_rate": rate}
        output.print_json(asdict(view) | given)
        return
    most = f"of {human(bounds.max_bytes)}" if bounds.max_bytes else "and it is off"
    facts = {
        "holds": f"{output.count(view.vectors, 'vector')}, {human(view.bytes)} {most}",
        "kept": f"{bounds.days:g} days at most",
        "asked": "nothing yet"
        if rate is None
        else f"{output.count(asked, 'chunk')}, of which it had {rate:.0%}",
    }
    for label, text in facts.items():
        output.show(output.labelled(label, text))


def _opened() -> "tuple[Settings, FileVectorCache]":
    settings = options.settings()
    from vectorflow.wiring.caches import make_cache

    place.show_place(settings)
    return settings, make_cache(settings)
