"""`vectorflow chunks`: the chunks of a file, before anything is embedded."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from vectorflow.cli import files, inputs, options, output
from vectorflow.cli.exit_codes import DONE, ERROR, INTERRUPTED

if TYPE_CHECKING:
    from rich.text import Text

    from vectorflow.cli.chunks_facts import View
    from vectorflow.domain.pipelines import Recipe
    from vectorflow.errors import DocumentFailed
    from vectorflow.flow import Input
    from vectorflow.flow.chunks import Reading
    from vectorflow.settings import Settings


@click.command(short_help="Show the chunks of a file.")
@click.argument("path", metavar="FILE")
@click.option(
    "--name",
    metavar="NAME",
    help="Name of the document on stdin; its ending may tell the type.  [default: stdin]",
)
@click.option("--compare", metavar="NAME", help="Cut by this chunker too, and show both.")
@click.option("--html", metavar="OUT", help="Write a page with the whole text; - is stdout.")
@options.chunker
@options.chunk_size("--size", "--chunk-size")
@options.chunk_overlap("--overlap", "--chunk-overlap")
@options.embedder
@options.everywhere
def chunks(path: str, name: str | None, compare: str | None, html: str | None) -> int:
    """Show the chunks of a file or of stdin (-), as an embed makes them.

    Nothing is embedded or kept, and no model is loaded.
    """
    asked = _understood(path, name, compare, html)
    try:
        return _run(asked)
    except KeyboardInterrupt:
        if options.as_json():
            raise
        return INTERRUPTED


class _Asked(NamedTuple):
    settings: "Settings"
    recipes: "Sequence[Recipe]"
    path: str
    source: "Input"
    html: str | None
    """As given."""
    page: Path | None
    """Where the page goes; None for none, and for stdout."""

    @property
    def shows_text(self) -> bool:
        """The chunks themselves are printed, as they come."""
        return self.html is None and len(self.recipes) == 1 and not options.as_json()


def _understood(path: str, name: str | None, compare: str | None, html: str | None) -> _Asked:
    inputs.refuse_addresses([path], "chunks - --name")
    if name is not None and path != "-":
        raise options.Refused(
            "--name names the document on stdin", fix="give - as the file, or leave --name out"
        )
    page = _page(path, html)
    settings = options.settings()
    from vectorflow.flow.chunks import recipes

    with options.refusing():
        made = recipes(settings, *filter(None, [compare]))
    source: Input = inputs.stdin(name or "stdin") if path == "-" else path
    return _Asked(settings, made, name or "stdin" if path == "-" else path, source, html, page)


def _page(path: str, html: str | None) -> Path | None:
    if html is None:
        return None
    if html == files.STDOUT:
        if options.as_json():
            fix = "leave one of them out, or give --html a file"
            raise options.Refused("--html - and --json both want stdout", fix=fix)
        return None
    page = files.path_for("--html", html)
    if page == Path(os.path.realpath(path)):
        raise options.Refused("--html would replace the document itself", fix="name another file")
    return page


def _run(asked: _Asked) -> int:
    from vectorflow.errors import DocumentFailed
    from vectorflow.flow.chunks import reading

    try:
        with reading(asked.settings, asked.source, asked.recipes) as document:
            _show_place(asked, document.extractor)
            fault = _show(asked, document)
    except DocumentFailed as error:
        output.show_error(_fault(asked.path, error), as_json=options.as_json())
        return ERROR
    if fault is None:
        return DONE
    output.show_error(fault, as_json=False)
    return ERROR


def _show(asked: _Asked, document: "Reading") -> output.Fault | None:
    """Show what can be read, and tell what ended it early; None if all of it was good."""
    from vectorflow.errors import DocumentFailed

    views, fault = _views(asked), None
    try:
        with nullcontext() if asked.shows_text else _counting(document):
            for found in document.sections():
                if not all([view.add(found) for view in views]):  # noqa: C419 - each sees it
                    break
    except DocumentFailed as error:
        fault = _fault(asked.path, error)
    for view in views:
        view.end(document, fault)
    return fault


def _views(asked: _Asked) -> "list[View]":
    from vectorflow.cli.chunks_json import JsonView
    from vectorflow.cli.chunks_page import PageView
    from vectorflow.cli.chunks_text import SummaryView, TextView

    page: list[View] = [] if asked.html is None else [PageView(asked.html, asked.page, asked.path)]
    if options.as_json():
        return [*page, JsonView(asked.path)]
    return [*page, TextView() if asked.shows_text else SummaryView(on_stderr=asked.html == "-")]


@contextmanager
def _counting(document: "Reading") -> Generator[None]:
    """Say on a terminal how many chunks there are by now."""
    from vectorflow.cli.progress import REFRESHES, Line, drawing

    console = output.stderr()
    if not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    from rich.live import Live

    def render() -> "Text":
        counted = output.count(document.tallies[0].chunks, "chunk")
        return drawing(Line(label="cut", text=counted), unicode=False)

    with Live(
        get_renderable=render, console=console, refresh_per_second=REFRESHES, transient=True,
        redirect_stdout=False,
    ):  # fmt: skip
        yield


def _show_place(asked: _Asked, extractor: str) -> None:
    from rich.text import Text

    from vectorflow.cli.place import folded, model_of

    first, *others = (recipe.chunking for recipe in asked.recipes)
    chunkers = " and ".join([first.chunker, *(other.chunker for other in others)])
    parts = [
        "in-process, nothing is kept",
        f"{output.plain(asked.path)} ({extractor})",
        model_of(asked.settings, asked.recipes[0]),
        f"{chunkers}: chunks of {first.size} {first.unit}, overlap {first.overlap}",
    ]
    console = output.stderr()
    for line in folded(parts, console.width if console.is_terminal else None):
        console.print(Text(line, "dim"), soft_wrap=True)


def _fault(path: str, error: "DocumentFailed") -> output.Fault:
    """Name the document, as a report of many would."""
    named = f"{output.plain(path)}: {error.message}"
    return output.Fault(code=error.code, message=named, fix=error.fix)
