"""`vectorflow search`: look something up in an index."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vectorflow.cli import options, output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vectorflow.cli.expect import Expected
    from vectorflow.service.search import Hit

SHOWN = 240
"""Characters of a chunk."""

DEEP = 200
"""Hits among which an expected document is looked for."""


@click.command(short_help="Search an index.")
@click.argument("query")
@click.option(
    "-k", default=5, show_default=True, type=click.IntRange(1, 1000), help="Hits, at most."
)
@click.option(
    "--filter",
    "where",
    multiple=True,
    type=options.KeyValue(),
    help="Only records with this metadata. Repeatable: all must hold.",
)
@click.option("--expect", metavar="FILE", help="Tell at which rank this document is, or why not.")
@options.index
@options.embedder
@options.store
@options.database
@options.everywhere
def search(query: str, k: int, where: tuple[tuple[str, object], ...], expect: str | None) -> None:
    """Print the chunks nearest to a text, the best first.

    A score is a cosine: 1 is equal, higher is better.
    """
    if not query.strip():
        raise options.Refused(
            "the query is empty", fix='write what you look for: vectorflow search "…"'
        )
    settings = options.settings()
    from vectorflow.cli.expect import explain
    from vectorflow.cli.place import show_place
    from vectorflow.flow import Flow
    from vectorflow.wiring import make_recipe, store_locator

    with options.refusing():
        store_locator(settings.store_url)
        show_place(settings, make_recipe(settings))
    with Flow(settings) as flow:
        asked = max(k, DEEP) if expect else k
        hits = flow.search(query, k=asked, filter=dict(where))
    expected = explain(settings, expect, hits) if expect else None
    if options.as_json():
        output.print_json(_as_json(query, settings.index, hits[:k], expected))
        return
    for rank, hit in enumerate(hits[:k], 1):
        output.show(_shown(rank, hit))
    if not hits:
        click.echo("nothing found", err=True)
    if expected:
        output.show(output.labelled("expect", expected.sentence, "bold"))


def _as_json(
    query: str, index: str, hits: "list[Hit]", expected: "Expected | None"
) -> dict[str, object]:
    found: dict[str, object] = {
        "query": query,
        "index": index,
        "hits": [asdict(hit) for hit in hits],
    }
    return found | {"expect": asdict(expected)} if expected else found


def _shown(rank: int, hit: "Hit") -> "RenderableType":
    """Lay out a hit: where it is in one line, then what it says."""
    from rich.console import Group
    from rich.text import Text

    where = Text(output.plain(hit.document.external_id), "bold")
    page = f"page {hit.chunk.page}" if hit.chunk.page is not None else ""
    place = [f"chunk {hit.chunk.position}", page, output.plain(" > ".join(hit.chunk.headings))]
    where.append("  " + " · ".join(part for part in place if part), "dim")
    text = Text(output.shortened(output.plain(hit.text), SHOWN))
    return output.labelled(f"{rank:>2} {hit.score:.2f}", Group(where, text), "cyan")
