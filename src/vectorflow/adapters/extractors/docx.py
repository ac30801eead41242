"""Word documents (DOCX)."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import Heading, Text, line, repeated, sections
from vectorflow.adapters._docx_numbering import Numbering
from vectorflow.adapters._docx_styles import Styles, W, number
from vectorflow.adapters._docx_text import TextReader
from vectorflow.adapters._list_labels import BULLET
from vectorflow.adapters._ooxml import FALLBACK, Package, package
from vectorflow.adapters._pieces import Grid, Item, Line, Piece, Title, blocks
from vectorflow.adapters._xml_tree import Element
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

_P = W + "p"
_TABLE = W + "tbl"
_WIDEST = 500
"""Columns of a table that are read; Word allows 63."""


class DocxExtractor(Extractor):
    """Gives headers, the body, then footers; notes after the paragraph that they belong to.

    Left out are deleted and hidden text, comments, tables of contents and embedded files. Labels of
    lists and numbered headings are counted as Word does.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".docx", ".docm", ".dotx", ".dotm")
    library: ClassVar[str] = "lxml"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        with package(source) as found:
            if found is not None:
                yield from sections(blocks(_Document(found).pieces()), found.properties)


class _Notes:
    """Footnotes and endnotes, numbered as they are met."""

    def __init__(self, found: Package) -> None:
        self._package = found
        self._known: dict[str, dict[str, str]] = {}
        self._met: list[str] = []
        self._count = 0

    def mark(self, reference: Element) -> str:
        kind = reference.tag.removeprefix(W).removesuffix("Reference")
        if kind not in self._known:
            self._known[kind] = self._read(kind)
        text = self._known[kind].get(reference.get(W + "id") or "")
        if not text:
            return ""
        self._count += 1
        self._met.append(f"[^{self._count}]: {text}")
        return f"[^{self._count}]"

    def take(self) -> Iterator[Text]:
        """Give the notes that were met since this was asked."""
        met, self._met = self._met, []
        yield from map(Text, met)

    def _read(self, kind: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in self._package.related(self._package.main, f"{kind}s"):
            reader = TextReader(lambda _: "")
            for note in self._package.part(part).iter(W + kind):
                found[note.get(W + "id") or ""] = "\n".join(_lines(reader, note))
        return found


class _Document:
    """One document, read from its first paragraph to its last."""

    def __init__(self, found: Package) -> None:
        self._package = found
        self._styles = Styles(self._part("styles"))
        self._numbering = Numbering(self._part("numbering"))
        self._notes = _Notes(found)
        self._reader = TextReader(self._notes.mark)

    def pieces(self) -> Iterator[Piece]:
        yield from self._edges("header")
        for element in self._package.stream(self._package.main, (_P, _TABLE, FALLBACK)):
            yield from self._block(element)
        yield from self._edges("footer")

    def _part(self, kind: str) -> Element | None:
        named = self._package.related(self._package.main, kind)
        return self._package.part(named[0]) if named else None

    def _edges(self, kind: str) -> Iterator[Text]:
        """Give what stands at one edge of all pages, each text once."""
        seen: set[str] = set()
        for name in self._package.related(self._package.main, kind):
            reader = TextReader(lambda _: "")
            text = "\n".join(map(line, _lines(reader, self._package.part(name))))
            if text not in seen:
                seen.add(text)
                yield Text(text)

    def _block(self, element: Element) -> Iterator[Piece]:
        if element.tag == _P:
            yield from self._paragraph(element)
        elif element.tag == _TABLE:
            yield Grid(list(self._rows(element)))
        yield from self._notes.take()
        for box in self._reader.take_boxes():
            for inner in _outermost(box, _P, _TABLE):
                yield from self._block(inner)

    def _paragraph(self, paragraph: Element) -> Iterator[Piece]:
        style = self._styles.of(paragraph)
        if style.level or style.title:
            self._reader.end_fields()  # a heading is in no table of contents
        written = self._reader.read(paragraph)
        text = written.strip()
        if not text and paragraph.find(f"{W}pPr/{W}rPr/{W}del") is not None:
            return  # all of it was deleted; other empty items are counted
        label = self._numbering.label(style.place) if style.place else ""
        if not text or style.over_contents:
            return
        if style.title:
            yield Title(text)
        elif style.level:
            yield Heading(style.level, text if label in {"", BULLET} else f"{label} {text}")
        elif style.place:
            yield Item(style.place.level, label, text)
        else:
            yield Line(written) if style.code else Text(text)

    def _rows(self, table: Element) -> Iterator[list[str]]:
        above: list[str] = []
        for row in _outermost(table, W + "tr"):
            properties = row.find(W + "trPr")
            if properties is None or properties.find(W + "del") is None:
                above = self._row(row, properties, above)
                yield above

    def _row(self, row: Element, properties: Element | None, above: list[str]) -> list[str]:
        """Give the cells of a row; what is merged is written into each cell that it covers.

        What covers the whole row is written once.
        """
        before = 0 if properties is None else number(properties, "gridBefore", 0)
        cells = [""] * min(before, _WIDEST)
        found = list(_outermost(row, W + "tc"))
        for cell in found:
            text = " ".join(_lines(self._reader, cell, self._label))
            properties = cell.find(W + "tcPr")
            span = 1
            if properties is not None:
                span = max(1, min(number(properties, "gridSpan", 1), _WIDEST - len(cells)))
                if _goes_on(properties) and len(cells) < len(above):
                    text = repeated(above[len(cells)])
            cells += [text, *[repeated(text)] * (span - 1 if len(found) > 1 else 0)]
        return cells

    def _label(self, paragraph: Element) -> str:
        place = self._styles.of(paragraph).place
        label = self._numbering.label(place) if place else BULLET
        return "" if label in {"", BULLET} else f"{label} "


def _goes_on(cell: Element) -> bool:
    """Tell whether a cell is merged with the one above."""
    merged = cell.find(W + "vMerge")
    return merged is not None and merged.get(W + "val") != "restart"


def _lines(
    reader: TextReader, element: Element, label: Callable[[Element], str] = lambda _: ""
) -> Iterator[str]:
    """Give the text of the paragraphs inside, those in nested tables and text boxes too."""
    for paragraph in _outermost(element, _P):
        if text := reader.read(paragraph).strip():
            yield label(paragraph) + text
        for box in reader.take_boxes():
            yield from _lines(reader, box, label)


def _outermost(element: Element, *tags: str) -> Iterator[Element]:
    """Find elements inside, and none inside of those."""
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag not in {FALLBACK, W + "del"}:
            yield from _outermost(child, *tags)
