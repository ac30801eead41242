"""Text of the paragraphs of an OpenDocument text."""

import re
from collections.abc import Callable, Iterator

from vectorflow.adapters._odt_styles import TEXT, Styles, number
from vectorflow.adapters._xml_tree import Element

OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"

NOTE = TEXT + "note"
BOX = DRAW + "text-box"

LEFT_OUT = frozenset(
    {
        OFFICE + "annotation",
        OFFICE + "annotation-end",
        TEXT + "tracked-changes",
        TEXT + "ruby-text",
        TEXT + "page-number",
        TEXT + "page-count",
        TEXT + "table-of-content",
        TEXT + "illustration-index",
        TEXT + "table-index",
        TEXT + "object-index",
        TEXT + "user-index",
        TEXT + "alphabetical-index",
        DRAW + "object",
        DRAW + "object-ole",
    }
)
"""Comments, deleted text, pronunciation, numbers of pages, and lists of what stands elsewhere."""

_WIDEST_GAP = 100
"""Spaces in a row that are kept."""

_SPACE = re.compile(r"[ \t\r\n]+")


class TextReader:
    """Reads the paragraphs of one document."""

    def __init__(self, styles: Styles, note: Callable[[Element], str]) -> None:
        """Read paragraphs.

        Args:
            styles: Of the document.
            note: Takes a note, and gives the mark to write.
        """
        self._styles = styles
        self._boxes: list[Element] = []
        self._readers: dict[str, Callable[[Element], str]] = {
            TEXT + "s": _spaces,
            TEXT + "tab": lambda _: "\t",
            TEXT + "line-break": lambda _: "\n",
            TEXT + "span": self._span,
            NOTE: note,
            BOX: self._box,
            _SVG + "title": lambda _: "",
            _SVG + "desc": _described,
        }

    def read(self, paragraph: Element) -> str:
        """Give the text of a paragraph, without what is hidden, set in as it is."""
        if self._styles.is_hidden(paragraph.get(TEXT + "style-name")):
            return ""
        return self._text(paragraph).rstrip()

    def take_boxes(self) -> list[Element]:
        """Give the text boxes that were met since this was asked."""
        taken = self._boxes.copy()
        self._boxes.clear()
        return taken

    def _text(self, element: Element) -> str:
        return "".join(self._parts(element))

    def _parts(self, element: Element) -> Iterator[str]:
        yield _collapsed(element.text)
        for child in element:
            if read := self._readers.get(child.tag):
                yield read(child)
            elif child.tag not in LEFT_OUT:
                yield from self._parts(child)
            yield _collapsed(child.tail)

    def _span(self, element: Element) -> str:
        hidden = self._styles.is_hidden(element.get(TEXT + "style-name"))
        return "" if hidden else self._text(element)

    def _box(self, element: Element) -> str:
        self._boxes.append(element)
        return ""


def _described(element: Element) -> str:
    """Give what somebody said that a picture shows, parted from what is around it."""
    return f" {_collapsed(element.text)} "


def _spaces(element: Element) -> str:
    return " " * number(element, TEXT + "c", 1, _WIDEST_GAP)


def _collapsed(text: str | None) -> str:
    return _SPACE.sub(" ", text) if text else ""
