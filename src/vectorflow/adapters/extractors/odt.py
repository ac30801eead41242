"""OpenDocument texts (ODT)."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO, ClassVar, cast
from zipfile import ZipFile

from vectorflow.adapters._archives import opened, read
from vectorflow.adapters._blocks import Heading, Text, line, sections
from vectorflow.adapters._compounds import read_head
from vectorflow.adapters._list_labels import BULLET, DEEPEST, Labels
from vectorflow.adapters._odt_styles import AUTOMATIC, STYLE, TEXT, Styles, number
from vectorflow.adapters._odt_tables import TABLE, Rows
from vectorflow.adapters._odt_text import LEFT_OUT, TextReader
from vectorflow.adapters._pieces import CODE_STYLES, Grid, Item, Line, Piece, Title, blocks
from vectorflow.adapters._properties import NAMES, named, properties
from vectorflow.adapters._xml_tree import Element, parse, stream
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, EncryptedFile
from vectorflow.ports.extractor import Extractor

_CONTENT = "content.xml"
_MAX_PART = 64 << 20
"""Bytes of a part that is read whole."""

_P = TEXT + "p"
_H = TEXT + "h"
_LIST = TEXT + "list"
_ITEM = TEXT + "list-item"
_BODY = (_P, _H, _LIST, TABLE)

_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"


class OdtExtractor(Extractor):
    """Gives headers, the body, then footers; notes after the paragraph that they belong to.

    Left out are deleted and hidden text, comments, indexes and embedded files.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".odt", ".ott")
    library: ClassVar[str] = "lxml"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        if not read_head(source):
            return
        with opened(source) as archive:
            if _CONTENT not in archive.NameToInfo:
                raise BrokenFile("it is a ZIP archive, but no OpenDocument text")
            if _has(archive, "META-INF/manifest.xml", "encryption-data"):
                raise EncryptedFile("it is encrypted")
            yield from sections(blocks(_Document(archive).pieces()), _properties(archive))


def _has(archive: ZipFile, part: str, name: str) -> bool:
    root = _part(archive, part)
    return root is not None and any(True for _ in root.iter(f"{{*}}{name}"))


def _part(archive: ZipFile, name: str) -> Element | None:
    if name not in archive.NameToInfo:
        return None
    return parse(read(archive, name, _MAX_PART), doctype=True)


def _properties(archive: ZipFile) -> Mapping[str, str]:
    root = _part(archive, "meta.xml")
    names = {**NAMES, "date": "modified"}
    if root is not None and root.find(".//{*}initial-creator") is not None:
        del names["creator"]  # it names who saved it last
    return {} if root is None else properties(named(root.iter(), names))


class _Document:
    """One document, read from its first paragraph to its last."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._styles = Styles()
        self._reader = TextReader(self._styles, self._note)
        self._notes: list[str] = []
        self._count = 0
        self._lists: dict[str, Labels] = {}
        self._last_list = Labels({})

    def pieces(self) -> Iterator[Piece]:
        common = _part(self._archive, "styles.xml")
        if common is not None:
            self._styles.read(common)
            yield from self._edges(common, "header")
        with self._archive.open(_CONTENT) as part:
            for element in stream(cast("BinaryIO", part), (*_BODY, *LEFT_OUT, AUTOMATIC)):
                if element.tag == AUTOMATIC:
                    self._styles.read(element)
                else:
                    yield from self._block(element)
        if common is not None:
            yield from self._edges(common, "footer")

    def _edges(self, common: Element, kind: str) -> Iterator[Text]:
        """Give what stands at one edge of all pages, each text once."""
        tags = (f"{STYLE}{kind}{pages}" for pages in ("", "-left", "-first"))
        texts = ("\n".join(map(line, self._lines(edge))) for edge in common.iter(*tags))
        yield from map(Text, dict.fromkeys(texts))

    def _block(self, element: Element) -> Iterator[Piece]:
        if element.tag == _P:
            yield from self._paragraph(element)
        elif element.tag == _H:
            yield from self._heading(element)
        elif element.tag == _LIST:
            yield from self._list(element, self._begun(element), 0)
        elif element.tag == TABLE:
            yield Grid(list(Rows(lambda cell: " ".join(self._lines(cell))).read(element)))
        notes, self._notes = self._notes, []
        yield from map(Text, notes)
        for box in self._reader.take_boxes():
            for inner in _outermost(box, _BODY):
                yield from self._block(inner)

    def _paragraph(self, paragraph: Element) -> Iterator[Piece]:
        written = self._reader.read(paragraph)
        if not (text := written.strip()):
            return
        style = self._styles.name(paragraph.get(TEXT + "style-name"))
        if style == "Title":
            yield Title(text)
        elif style != "Contents Heading":
            yield Line(written) if style.lower() in CODE_STYLES else Text(text)

    def _heading(self, heading: Element, label: str = "") -> Iterator[Piece]:
        level = number(heading, TEXT + "outline-level", 1, 10)
        if not label and heading.get(TEXT + "is-list-header") != "true":
            label = self._styles.outline.next(level - 1)
        if text := self._reader.read(heading).strip():
            yield Heading(level, text if label in {"", BULLET} else f"{label} {text}")

    def _begun(self, element: Element) -> Labels:
        """Give what counts the items of a list: its own, or that of a list it goes on with."""
        goes_on = element.get(TEXT + "continue-numbering") == "true"
        before = self._last_list if goes_on else None
        before = self._lists.get(element.get(TEXT + "continue-list") or "", before)
        style = element.get(TEXT + "style-name") or ""
        self._last_list = before or Labels(self._styles.lists.get(style, {}))
        if name := element.get(_XML_ID):
            self._lists[name] = self._last_list
        return self._last_list

    def _list(self, element: Element, labels: Labels, level: int) -> Iterator[Piece]:
        style = element.get(TEXT + "style-name")
        if level and style in self._styles.lists:
            labels = Labels(self._styles.lists[style])
        for item in element:
            if item.get(TEXT + "start-value"):
                labels.restart(level, number(item, TEXT + "start-value", 1, 9999))
            yield from self._item(item, labels, level)

    def _item(self, item: Element, labels: Labels, level: int) -> Iterator[Piece]:
        counted = item.tag == _ITEM and any(child.tag in {_P, _H} for child in item)
        label = labels.next(level) if counted else ""
        for child in item:
            if child.tag == _LIST:
                yield from self._list(child, labels, min(level + 1, DEEPEST))
            elif child.tag == _H:
                yield from self._heading(child, label)
            elif text := self._reader.read(child).strip() if child.tag == _P else "":
                yield Item(level, label, text)
                label = ""

    def _note(self, note: Element) -> str:
        body = note.find(TEXT + "note-body")
        text = "" if body is None else "\n".join(self._lines(body))
        if not text:
            return ""
        self._count += 1
        self._notes.append(f"[^{self._count}]: {text}")
        return f"[^{self._count}]"

    def _lines(self, element: Element) -> Iterator[str]:
        """Give the text of the paragraphs inside, those in nested tables and text boxes too."""
        for paragraph in _outermost(element, (_P, _H)):
            if text := self._reader.read(paragraph).strip():
                yield text
            for box in self._reader.take_boxes():
                yield from self._lines(box)


def _outermost(element: Element, tags: tuple[str, ...]) -> Iterator[Element]:
    """Find elements inside, and none inside of those."""
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag not in LEFT_OUT:
            yield from _outermost(child, tags)
