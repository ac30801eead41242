"""Pieces of office documents -> blocks: items make lists, lines make code, rows make tables."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from vectorflow.adapters._blocks import Block, Code, Heading, Table, Text, line

LONGEST_HEADING = 400
"""Characters; what is longer only looks like a heading."""

CODE_STYLES = frozenset(
    {"code", "html preformatted", "macro text", "preformatted text", "source code", "sourcecode"}
)
"""Names that word processors and converters give styles of code, in lower case."""

_LIST_ITEMS = 500
"""Items that are held at once."""


class Title(NamedTuple):
    """Of the whole document: all headings lie below it."""

    text: str


class Item(NamedTuple):
    """One of a list."""

    level: int
    """0 is the outermost."""
    label: str
    """`-`, `1.`, `(a)`; empty where it has none."""
    text: str


class Line(NamedTuple):
    """One of code."""

    text: str


class Grid(NamedTuple):
    """A table as somebody drew it, perhaps only to place things on a page."""

    rows: Sequence[Sequence[str]]


Piece = Block | Title | Item | Line | Grid


def blocks(pieces: Iterable[Piece]) -> Iterator[Block]:
    """Join what belongs together, holding no more than that."""
    titled = 0
    for kind, run in groupby(pieces, key=type):
        if kind is Title:
            titled = 1
            yield Heading(1, " ".join(one.text for one in run if isinstance(one, Title)))
        elif kind is Item:
            yield from _lists(one for one in run if isinstance(one, Item))
        elif kind is Line:
            yield Code("\n".join(one.text for one in run if isinstance(one, Line)))
        else:
            for one in run:
                yield from _block(one, titled)


def _block(piece: Piece, titled: int) -> Iterator[Block]:
    match piece:
        case Heading(level, text):
            is_one = len(text) <= LONGEST_HEADING
            yield Heading(level + titled, text) if is_one else Text(text)
        case Grid(rows):
            yield from _grid(rows)
        case Title() | Item() | Line():
            raise TypeError(piece)
        case _:
            yield piece


def _lists(items: Iterator[Item]) -> Iterator[Text]:
    while taken := list(islice(items, _LIST_ITEMS)):
        yield Text("\n".join(map(_item, taken)))


def _item(item: Item) -> str:
    indent = "  " * item.level
    text = item.text.replace("\n", f"\n{indent}  ")
    return f"{indent}{item.label} {text}" if item.label else indent + text


def _grid(rows: Sequence[Sequence[str]]) -> Iterator[Block]:
    """Write as a table what is one: rows above its header, and what is one row or column, are text.

    Rows and columns without text are left out.
    """
    kept = _without_gaps([[line(cell) for cell in row] for row in rows])
    while kept and (len(kept) == 1 or sum(map(bool, kept[0])) == 1):
        yield from (Text(cell) for cell in kept.pop(0) if cell)
    if kept:
        yield Table(kept)


def _without_gaps(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    width = max(map(len, rows), default=0)
    full = [[*row, *[""] * (width - len(row))] for row in rows if any(row)]
    columns = [at for at in range(width) if any(row[at] for row in full)]
    return [[row[at] for at in columns] for row in full]
