"""Text of the paragraphs of a Word document."""

from collections.abc import Callable

from vectorflow.adapters._docx_styles import W, is_on
from vectorflow.adapters._fields import Fields
from vectorflow.adapters._ooxml import FALLBACK
from vectorflow.adapters._xml_tree import Element, properties_of

_LOOKS = W + "rPr"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_WP = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}"

_LEFT_OUT = frozenset(
    {
        W + "pPr",
        W + "rPr",
        W + "sdtPr",
        W + "del",
        W + "moveFrom",
        W + "rt",
        W + "object",
        FALLBACK,
    }
)
"""Looks, what was deleted, pronunciation, embedded files, and what is there twice."""

_MARKS = {
    W + "tab": "\t",
    W + "ptab": "\t",
    W + "br": "\n",
    W + "cr": "\n",
    W + "noBreakHyphen": "-",
}
_JOINED = {
    _M + "f": "/",
    _M + "sSup": "^",
    _M + "sSub": "_",
}
"""Formulas of two parts, and what is written between."""


class TextReader:
    """Reads one paragraph after the other: fields may go on from one into the next."""

    def __init__(self, note: Callable[[Element], str]) -> None:
        """Read paragraphs.

        Args:
            note: Takes the reference to a note, and gives the mark to write.
        """
        self._boxes: list[Element] = []
        self._fields = Fields()
        self._parts: list[str] = []
        self._readers: dict[str, Callable[[Element], None]] = {
            W + "t": lambda element: self._say(element.text),
            W + "r": self._run,
            W + "fldChar": self._field_mark,
            W + "instrText": lambda element: self._fields.instruct(element.text or ""),
            W + "fldSimple": self._simple_field,
            W + "txbxContent": self._boxes.append,
            W + "footnoteReference": lambda element: self._say(note(element)),
            W + "endnoteReference": lambda element: self._say(note(element)),
            _WP + "docPr": lambda element: self._say(described(element)),
            _M + "t": lambda element: self._say(element.text),
            **dict.fromkeys(_JOINED, self._formula),
        }

    def read(self, paragraph: Element) -> str:
        """Give the text of a paragraph, without what was deleted or is hidden, set in as it is."""
        self._parts = []
        self._walk(paragraph)
        self._fields.end_paragraph()
        return "".join(self._parts).rstrip()

    def take_boxes(self) -> list[Element]:
        """Give the text boxes that were met since this was asked."""
        taken = self._boxes.copy()
        self._boxes.clear()
        return taken

    def end_fields(self) -> None:
        """Forget the fields that have begun."""
        self._fields.close()

    def _walk(self, element: Element) -> None:
        for child in element:
            tag = child.tag
            if read := self._readers.get(tag):
                read(child)
            elif mark := _MARKS.get(tag):
                self._say(mark)
            elif tag not in _LEFT_OUT:
                self._walk(child)

    def _say(self, text: str | None) -> None:
        if text and not self._fields.quiet:
            self._parts.append(text)

    def _run(self, run: Element) -> None:
        looks = properties_of(run, _LOOKS)
        if looks is None or len(looks) == 0 or not is_on(looks, "vanish"):
            self._walk(run)

    def _formula(self, element: Element) -> None:
        for position, part in enumerate(one for one in element if not one.tag.endswith("Pr")):
            if position:
                self._say(_JOINED[element.tag])
            self._walk(part)

    def _field_mark(self, element: Element) -> None:
        kind = element.get(W + "fldCharType")
        if kind == "begin":
            self._fields.begin()
        elif kind == "separate":
            self._fields.separate()
        elif kind == "end":
            self._fields.end()

    def _simple_field(self, element: Element) -> None:
        self._fields.begin()
        self._fields.instruct(element.get(W + "instr") or "")
        self._fields.separate()
        self._walk(element)
        self._fields.end()


def described(picture: Element) -> str:
    """Give what somebody said that a picture shows, parted from what is around it."""
    said = picture.get("descr") or ""
    return f" {said} " if said.strip() else ""
