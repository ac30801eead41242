"""PowerPoint presentations (PPTX)."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import Heading, Page, Text, sections
from vectorflow.adapters._charts import chart_pieces, diagram_pieces
from vectorflow.adapters._drawing_text import A, lines, paragraphs, rows
from vectorflow.adapters._ooxml import MC, Package, R, package
from vectorflow.adapters._pieces import Grid, Piece, blocks
from vectorflow.adapters._xml_tree import Element
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"

_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})
"""Placeholders that say the same on every slide."""

_OUTLINES = frozenset({"body", "obj"})
"""Placeholders whose paragraphs are items of a list unless they say otherwise."""

_AROUND_SHAPES = frozenset(
    {_P + "cSld", _P + "spTree", _P + "grpSp", MC + "AlternateContent", MC + "Choice"}
)


class PptxExtractor(Extractor):
    """Gives a page per slide in the order of the show: title, shapes as they are read, then notes.

    Charts and diagrams give what they show. Left out are comments, and numbers, dates and footers
    of slides.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm")
    library: ClassVar[str] = "lxml"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        with package(source) as found:
            if found is not None:
                yield from sections(blocks(_slides(found)), found.properties)


def _slides(found: Package) -> Iterator[Piece]:
    relations = found.relations(found.main)
    shown = (
        relations.get(one.get(R + "id") or "") for one in found.part(found.main).iter(_P + "sldId")
    )
    for page, relation in enumerate(shown, 1):
        if relation is None or relation.external:
            continue
        slide = _Slide(found, relation.target)
        title, pieces, notes = slide.title, list(slide.pieces()), list(slide.notes())
        if title or pieces or notes:
            yield Page(page)
            yield Heading(1, title or f"Slide {page}")
            yield from pieces
        if notes:
            yield Heading(2, "Notes")
            yield from notes


class _Slide:
    """One slide, with what it refers to."""

    def __init__(self, found: Package, part: str) -> None:
        self._package = found
        self._part = part
        self._relations = found.relations(part)
        self._shapes = list(_shapes(found.part(part)))
        titles = (one for one in self._shapes if _placeholder(one) in _TITLES)
        self._title = next(titles, None)

    @property
    def title(self) -> str:
        return "" if self._title is None else " ".join(lines(self._title))

    def pieces(self) -> Iterator[Piece]:
        """Give what stands on it but the title."""
        for shape in self._shapes:
            if shape is not self._title:
                yield from self._shape(shape)

    def notes(self) -> Iterator[Piece]:
        """Give what the speaker wants to say."""
        for part in self._package.related(self._part, "notesSlide"):
            for shape in _shapes(self._package.part(part)):
                if _placeholder(shape) == "body":
                    yield from paragraphs(shape, listed=False)

    def _shape(self, shape: Element) -> Iterator[Piece]:
        if shape.tag == _P + "graphicFrame":
            yield from self._graphic(shape)
        elif shape.tag == _P + "pic":
            if said := _look(shape, "descr"):
                yield Text(said)
        else:
            yield from paragraphs(shape, listed=_placeholder(shape) in _OUTLINES)

    def _graphic(self, frame: Element) -> Iterator[Piece]:
        for shown in frame.iter(A + "tbl", _CHART, _DIAGRAM):
            if shown.tag == A + "tbl":
                if any(map(any, found := list(rows(shown)))):
                    yield Grid(found)
            elif shown.tag == _CHART:
                yield from self._of(chart_pieces, shown.get(R + "id"))
            else:
                yield from self._of(diagram_pieces, shown.get(R + "dm"))

    def _of(
        self, read: Callable[[Element], Iterator[Piece]], relation_id: str | None
    ) -> Iterator[Piece]:
        """Read another part, where it is there."""
        relation = self._relations.get(relation_id or "")
        if relation and relation.target in self._package.archive.NameToInfo:
            yield from read(self._package.part(relation.target))


def _shapes(element: Element) -> Iterator[Element]:
    """Give the shapes of a slide that can be seen, out of their groups, without furniture."""
    for child in element:
        if child.tag in {_P + "sp", _P + "graphicFrame", _P + "pic"}:
            if _look(child, "hidden") != "1" and _placeholder(child) not in _FURNITURE:
                yield child
        elif child.tag in _AROUND_SHAPES:
            yield from _shapes(child)


def _placeholder(shape: Element) -> str:
    """Name what a shape stands for; empty where it is no placeholder."""
    found = next(shape.iter(_P + "ph"), None)
    return "" if found is None else found.get("type") or "obj"


def _look(shape: Element, name: str) -> str:
    found = next(shape.iter(_P + "cNvPr"), None)
    return "" if found is None else found.get(name) or ""
