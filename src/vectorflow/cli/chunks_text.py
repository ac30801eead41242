"""The chunks of a document on the terminal."""

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING, NamedTuple

from vectorflow.cli import output
from vectorflow.cli.chunks_facts import (
    Agreement,
    View,
    attachments_of,
    facts_of,
    rows_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from vectorflow.flow.chunks import Reading
    from vectorflow.service.chunks import Chunk, ChunkedSection

NAMES_SHOWN = 5
"""Attachments that are named."""

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What commands a terminal or turns the order of what is shown."""


class Line(NamedTuple):
    """A line with its label in the margin."""

    label: str
    text: str
    style: str = ""


def lines(chunk: "Chunk") -> Iterator[Line]:
    """Lay out a chunk: what is known of it, the repeated header, the overlap, and what is new."""
    yield Line(f"{chunk.position:>7,}", facts_of(chunk), "bold")
    body = chunk.text[len(chunk.header) :]
    yield from _labelled("header", chunk.header, "magenta")
    yield from _labelled("overlap", body[: chunk.overlap], "yellow")
    new = body[chunk.overlap :]
    yield from _labelled("", new.lstrip(" ") if chunk.overlap else new, "")
    yield Line("", "")


class TextView(View):
    """Prints chunks as they come: with colours on a terminal, else as whole plain lines."""

    def __init__(self) -> None:
        self._console = output.stdout()

    def add(self, found: "ChunkedSection") -> bool:
        """Print the chunks of a section."""
        return all(_printed(self._console, chunk) for chunk in found.chunks[0])

    def end(self, document: "Reading", fault: output.Fault | None) -> None:
        """Print the summary."""
        _show_summary(document, fault, None)


class SummaryView(View):
    """Prints what the chunks are like, side by side where there are two chunkers."""

    def __init__(self, *, on_stderr: bool) -> None:
        self._on_stderr = on_stderr
        self._agreement = Agreement()

    def add(self, found: "ChunkedSection") -> bool:
        """Count the places where both cut."""
        self._agreement.add(found)
        return True

    def end(self, document: "Reading", fault: output.Fault | None) -> None:
        """Print the summary."""
        with redirect_stdout(sys.stderr) if self._on_stderr else nullcontext():
            _show_summary(document, fault, self._agreement)


def _printed(console: "Console", chunk: "Chunk") -> bool:
    if not console.is_terminal:
        plain = (f"{line.label:<{output.MARGIN}}{line.text}".rstrip() for line in lines(chunk))
        return output.echo("\n".join(plain))
    from rich.console import Group
    from rich.text import Text

    styles = {"header": "magenta", "overlap": "yellow"}
    rows = [
        output.labelled(line.label, Text(line.text, line.style), styles.get(line.label, "cyan"))
        for line in lines(chunk)
    ]
    return output.show(Group(*rows))


def _labelled(label: str, text: str, style: str) -> Iterator[Line]:
    for number, line in enumerate(text.strip("\r\n").rstrip().splitlines()):
        yield Line("" if number else label, safe(line), style)


def safe(line: str) -> str:
    """Make a line of a stranger's text fit for a terminal, its words and indents as they are."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", line.expandtabs(4))


def _show_summary(
    document: "Reading", fault: output.Fault | None, agreement: Agreement | None
) -> None:
    """Print the figures, unless nothing could be read; `agreement` is of two chunkers."""
    from rich.table import Table

    if fault is not None and not document.tallies[0].chunks:
        return
    several = len(document.chunkings) > 1
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=several)
    table.add_column(style="dim", min_width=output.MARGIN - 1, no_wrap=True)
    for chunking in document.chunkings:
        table.add_column(chunking.chunker, no_wrap=True)
    facts = [rows_of(tally.summary()) for tally in document.tallies]
    for name in facts[0]:
        table.add_row(name, *(fact[name] for fact in facts))
    if several and agreement is not None:
        table.add_row("cuts alike", f"{agreement.alike:,}")
    output.show(table)
    if attached := attachments_of(document, NAMES_SHOWN):
        output.show(output.labelled("attached", f"{attached}: documents of their own"))
