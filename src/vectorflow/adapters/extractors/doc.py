"""Binary Word documents (DOC), as Word 97 to 2003 wrote them."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import BinaryIO, ClassVar

from vectorflow.adapters._blocks import Heading, Text, sections
from vectorflow.adapters._compounds import compound, read_head, read_stream, said
from vectorflow.adapters._doc_file import Looks, WordFile, changes, check_header
from vectorflow.adapters._doc_text import CELL, Paragraph, TextReader
from vectorflow.adapters._list_labels import BULLET, DEEPEST
from vectorflow.adapters._pieces import Grid, Item, Piece, Title, blocks
from vectorflow.domain.documents import Attached, Section
from vectorflow.ports.extractor import Extractor

_IN_TABLE, _ENDS_ROW, _OUTLINE, _LIST, _LIST_LEVEL = 0x2416, 0x2417, 0x2640, 0x460B, 0x260A
"""Codes of what paragraphs look like."""

_BODY_LEVEL = 9
"""Outline level, counted from 0, of text that is no heading."""

_HEADINGS = range(1, 10)
_TITLE = 62
_LIST_STYLES: Mapping[int, int] = {
    **dict.fromkeys((48, 49), 0),
    **{style: (style - 54) % 4 + 1 for style in range(54, 62)},
}
"""Built-in styles of list items -> level."""

_DEEPEST_BASE = 20
"""Styles that are based on each other; Word allows 10."""


class DocExtractor(Extractor):
    """Gives headers and footers, the body, notes and text boxes.

    Left out are deleted and hidden text, comments, tables of contents and embedded files. Items of
    lists are written with a dash, also those that Word numbers.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".doc", ".dot")
    library: ClassVar[str] = "olefile"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        if not read_head(source):
            return
        with compound(source) as file:
            main = read_stream(file, "WordDocument")
            word = WordFile(main, read_stream(file, check_header(main)))
            yield from sections(blocks(_pieces(word)), said(file))


def _pieces(word: WordFile) -> Iterator[Piece]:
    stories, begins = word.stories, [0]
    for length in stories:
        begins.append(begins[-1] + length)
    spans = dict(zip(stories._fields, pairwise(begins), strict=True))
    yield from _edges(word, *spans["headers"])
    yield from _body(word, *spans["main"])
    for story in ("footnotes", "endnotes", "boxes", "header_boxes"):
        yield from (Text(one.text) for one in TextReader(word).paragraphs(*spans[story]))


def _edges(word: WordFile, first: int, end: int) -> Iterator[Text]:
    """Give what stands above and below pages, each paragraph once."""
    texts = (one.text for one in TextReader(word).paragraphs(first, end))
    if kept := dict.fromkeys(filter(None, texts)):
        yield Text("\n".join(kept))


def _body(word: WordFile, first: int, end: int) -> Iterator[Piece]:
    reader, table = TextReader(word), _Table()
    for paragraph in reader.paragraphs(first, end):
        codes = changes(paragraph.looks)
        if codes.get(_IN_TABLE):
            table.add(paragraph, ends_row=bool(codes.get(_ENDS_ROW)))
            continue
        yield from table.take()
        if paragraph.text:
            yield _piece(word, paragraph, codes)
    yield from table.take()


def _piece(word: WordFile, paragraph: Paragraph, codes: Mapping[int, int]) -> Piece:
    built_in, chosen = _built_in(word, paragraph.looks)
    outline = codes.get(_OUTLINE, built_in - 1 if built_in in _HEADINGS else _BODY_LEVEL)
    if built_in == _TITLE and chosen:
        return Title(paragraph.text)
    if outline < _BODY_LEVEL:
        return Heading(outline + 1, paragraph.text)
    if codes.get(_LIST) or built_in in _LIST_STYLES:
        level = codes.get(_LIST_LEVEL, _LIST_STYLES.get(built_in, 0))
        return Item(min(level, DEEPEST), BULLET, paragraph.text)
    return Text(paragraph.text)


def _built_in(word: WordFile, looks: Looks | None) -> tuple[int, bool]:
    """Number of the built-in style that a paragraph has, or that its own is based on; else 0.

    And whether it is its own.
    """
    number = 0 if looks is None else looks.style
    for depth in range(_DEEPEST_BASE):
        if number >= len(word.styles):
            break
        style = word.styles[number]
        if style.built_in in _HEADINGS or style.built_in in {_TITLE, *_LIST_STYLES}:
            return style.built_in, depth == 0
        number = style.base
    return 0, False


class _Table:
    """Gathers the rows of one table."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._cells: list[str] = []
        self._lines: list[str] = []

    def add(self, paragraph: Paragraph, *, ends_row: bool) -> None:
        """Add what lies in a cell, or ends one or a row."""
        if ends_row:
            self._rows.append(self._cells)
            self._cells, self._lines = [], []
            return
        self._lines.append(paragraph.text)
        if paragraph.mark == CELL:
            self._cells.append(" ".join(filter(None, self._lines)))
            self._lines = []

    def take(self) -> Iterator[Grid]:
        """Give the table that has ended, if there is one."""
        rows = [*self._rows, [*self._cells, *self._lines]]
        self._rows, self._cells, self._lines = [], [], []
        if any(rows):
            yield Grid(rows)
