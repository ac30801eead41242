"""Blocks of a structured document -> sections: what the extractors of such formats share.

The text that comes out is Markdown: a heading is a line with `#`, a table has a line a row.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from vectorflow.adapters._text_sections import ENOUGH, bounded
from vectorflow.domain.documents import MAX_SECTION, Attached, Section, SectionKind

DEEPEST_HEADING = 6

LONG_CODE = 2000
"""Characters from which code is a section of its own; shorter code stays with the text around."""

TABLE_SECTION = 1 << 16
"""Characters of rows after which a table goes on in a further section."""

LONGEST_SAID = 1024
"""Characters of what is said again and again: headings and properties on each record, merged cells.

The text itself has the whole heading, and the whole cell once.
"""

_MOST_HELD = 2 * ENOUGH
"""Characters after which sections are written though the text goes on."""

_BREAKS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*|\s{2,}|\t")

_UNSEEN = re.compile("[\0-\x08\x0e-\x1f\x7f\ud800-\udfff]")


class Heading(NamedTuple):
    """Opens a section; the path of headings goes on below it."""

    level: int
    """1 is the outermost."""
    text: str


class Text(NamedTuple):
    """A paragraph, list or quote, as Markdown."""

    text: str


class Table(NamedTuple):
    """Rows of cells; the first names the columns. Rows may come as they are read."""

    rows: Iterable[Sequence[str]]


class Code(NamedTuple):
    """Code or other text that is laid out by hand."""

    text: str
    language: str = ""


class Page(NamedTuple):
    """What follows lies on this page or slide, counted from 1."""

    number: int


Block = Heading | Text | Table | Code | Page | Attached


@dataclass(slots=True)
class _Place:
    """Where in the document the next section begins."""

    properties: Mapping[str, str]
    start: int = 0
    page: int | None = None
    headings: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    """Of the headings."""

    def open(self, heading: Heading) -> None:
        """Go on below a heading: those as deep or deeper end."""
        above = sum(1 for level in self.levels if level < heading.level)
        self.headings = (*self.headings[:above], heading.text)
        self.levels = (*self.levels[:above], heading.level)

    def write(
        self,
        text: str,
        *,
        kind: SectionKind = SectionKind.TEXT,
        header: str = "",
        language: str = "",
    ) -> Section:
        """Give the next section; what follows it begins where it ends."""
        begin, self.start = self.start, self.start + len(text)
        return Section(
            text=text,
            start=begin,
            headings=self.headings,
            page=self.page,
            kind=kind,
            header=header,
            language=language,
            properties=self.properties,
        )


def sections(
    blocks: Iterable[Block], properties: Mapping[str, str] | None = None
) -> Iterator[Section | Attached]:
    """Write blocks as sections, in order and without gaps, holding one section at a time.

    A heading, a page, a table and long code begin a section each.
    """
    said = (properties or {}).items()
    kept = {name: clean(value).strip()[:LONGEST_SAID].rstrip() for name, value in said}
    place = _Place({name: value for name, value in kept.items() if value})
    held: list[str] = []
    length = 0
    for block in blocks:
        match block:
            case Text(text):
                held += _paragraph(text)
                length += len(text)
            case Code(text, language) if len(text) < LONG_CODE:
                held += _fenced(text, language)
                length += len(text)
            case Attached():
                yield block
            case _:
                yield from _written(place, held)
                held = []
                yield from _begin(place, block, held)
                length = 0
        if length > _MOST_HELD:
            yield from _settled(place, held)
            length = sum(map(len, held))
    yield from _written(place, held)


def clean(text: str) -> str:
    """Leave out what no text may hold: half characters, NUL and other control characters."""
    if text.replace("\n", "").isprintable():  # which is much faster to see
        return text
    return _UNSEEN.sub("", text)


def line(value: str) -> str:
    """Write text in one line."""
    bare = value.strip()
    if bare.isprintable() and "  " not in bare:  # no other white space is printable
        return bare
    return _BREAKS.sub(" ", clean(value).strip())


def row(cells: Iterable[str]) -> str:
    """Write a row of a table, as a line."""
    written = list(cells)
    bare = "|".join(written)
    if len(written) != bare.count("|") + 1 or not bare.isprintable() or _is_loose(f"|{bare}|"):
        return "| " + " | ".join(line(cell).replace("|", r"\|") for cell in written) + " |\n"
    return f"| {bare.replace('|', ' | ')} |\n"


def repeated(cell: str) -> str:
    """Give what a further cell says that is merged with this one: nothing where that is long.

    A few kilobytes could become as much text as may come out of a document otherwise.
    """
    return cell if len(cell) <= LONGEST_SAID else ""


def _is_loose(framed: str) -> bool:
    """Tell whether a cell begins or ends with a space, or has more than one in a row."""
    return "  " in framed or "| " in framed or " |" in framed


def header(names: Sequence[str]) -> str:
    """Write the lines that name the columns of a table."""
    return row(names) + f"|{' --- |' * len(names)}\n"


def _begin(place: _Place, block: Block, held: list[str]) -> Iterator[Section]:
    """Do what a block says that begins a section."""
    match block:
        case Heading(level, text):
            if title := line(text):
                place.open(Heading(level, title[:LONGEST_SAID].rstrip()))
                held.append(f"{'#' * min(level, DEEPEST_HEADING)} {title}\n\n")
        case Page():
            place.page = block.number
        case Table(rows):
            yield from _table(place, iter(rows))
        case Code(text, language):
            whole = clean(text).rstrip() + "\n\n"
            for piece in bounded([whole]):
                yield place.write(piece, kind=SectionKind.CODE, language=language)
        case _:
            raise TypeError(block)


def _written(place: _Place, held: Iterable[str]) -> Iterator[Section]:
    for text in bounded(held):
        yield place.write(text)


def _settled(place: _Place, held: list[str]) -> Iterator[Section]:
    """Write as sections what no further text can change; the rest stays held."""
    left = sum(map(len, held))
    pieces = deque(bounded(held))
    while left >= ENOUGH:
        left -= len(pieces[0])
        yield place.write(pieces.popleft())
    held[:] = pieces


def _paragraph(text: str) -> Iterator[str]:
    if kept := clean(text).strip("\r\n"):
        yield kept.rstrip() + "\n\n"


def _fenced(text: str, language: str) -> Iterator[str]:
    kept = clean(text).strip("\r\n").rstrip()
    if kept:
        longest = max((len(run) for run in re.findall("`{3,}", kept)), default=2)
        fence = "`" * (longest + 1)
        yield f"{fence}{language}\n{kept}\n{fence}\n\n"


def _table(place: _Place, rows: Iterator[Sequence[str]]) -> Iterator[Section]:
    names = next(rows, None)
    if names is None:
        return
    head = header(names)
    again = head if len(head) <= TABLE_SECTION else ""  # no chunk has room for a longer one
    held, length = [head], len(head)
    for written in chain((row(cells) for cells in rows), ("\n",)):
        if length + len(written) > TABLE_SECTION:
            yield from _rows(place, held, again)
            held, length = [], 0
        held.append(written)
        length += len(written)
    yield from _rows(place, held, again)


def _rows(place: _Place, held: Sequence[str], head: str) -> Iterator[Section]:
    text = "".join(held)
    pieces = [text] if len(text) <= MAX_SECTION else bounded([text])
    for piece in pieces:
        yield place.write(piece, kind=SectionKind.TABLE, header=head)
