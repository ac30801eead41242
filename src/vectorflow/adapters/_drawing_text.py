"""Text in shapes and tables of DrawingML, which slides are made of."""

import re
from collections.abc import Iterator

from vectorflow.adapters._blocks import Text
from vectorflow.adapters._numerals import numeral
from vectorflow.adapters._ooxml import FALLBACK
from vectorflow.adapters._pieces import Item
from vectorflow.adapters._xml_tree import Element

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_WORDS = (A + "t", "{http://schemas.openxmlformats.org/officeDocument/2006/math}t")
_LEFT_OUT = frozenset({A + "pPr", A + "rPr", A + "endParaRPr", FALLBACK})
_DEEPEST = 8
_NUMBERING = re.compile(r"(arabic|alphaLc|alphaUc|romanLc|romanUc)(Period|ParenR|ParenBoth|Plain)")
_FORMS = {
    "arabic": "decimal",
    "alphaLc": "lowerLetter",
    "alphaUc": "upperLetter",
    "romanLc": "lowerRoman",
    "romanUc": "upperRoman",
}
_AROUND = {"Period": "{}.", "ParenR": "{})", "ParenBoth": "({})", "Plain": "{}"}
"""How a number becomes a label."""


def paragraphs(body: Element, *, listed: bool) -> Iterator[Text | Item]:
    """Give the paragraphs of a shape.

    Args:
        body: What holds its text.
        listed: Whether those that say nothing else are items of a list.
    """
    counts: dict[int, int] = {}
    for paragraph in body.iter(A + "p"):
        look = paragraph.find(A + "pPr")
        level = _level(look)
        label = _label(look, level, counts)
        if label is None:
            label = "-" if listed else ""
        if text := _text(paragraph):
            yield Item(level, label, text) if label else Text(text)


def lines(element: Element) -> Iterator[str]:
    """Give the text of each paragraph inside that has some."""
    return filter(None, map(_text, element.iter(A + "p")))


def rows(table: Element) -> Iterator[list[str]]:
    """Give the rows of a table; what is merged is written into each cell that it covers.

    What covers a whole row is written once.
    """
    above: list[str] = []
    for row in table.iter(A + "tr"):
        cells: list[str] = []
        found = [cell for cell in row if cell.tag == A + "tc"]
        alone = all(cell.get("hMerge") == "1" for cell in found[1:])
        for cell in found:
            if cell.get("vMerge") == "1" and len(cells) < len(above):
                cells.append(above[len(cells)])
            elif cell.get("hMerge") == "1" and cells:
                cells.append("" if alone else cells[-1])
            else:
                cells.append(" ".join(lines(cell)))
        above = cells
        yield cells


def _text(paragraph: Element) -> str:
    return "".join(_parts(paragraph)).strip()


def _parts(element: Element) -> Iterator[str]:
    for child in element:
        if child.tag in _WORDS:
            yield child.text or ""
        elif child.tag == A + "br":
            yield "\n"
        elif child.tag not in _LEFT_OUT and child.get("type") != "slidenum":
            yield from _parts(child)


def _level(look: Element | None) -> int:
    said = "" if look is None else look.get("lvl") or ""
    return min(int(said), _DEEPEST) if said.isascii() and said.isdigit() else 0


def _label(look: Element | None, level: int, counts: dict[int, int]) -> str | None:
    """Count a paragraph and give its label; empty where it says that it has none.

    None is for one that leaves it to its surroundings.
    """
    for deeper in [one for one in counts if one > level]:
        del counts[deeper]
    numbering = None if look is None else look.find(A + "buAutoNum")
    if numbering is not None:
        counts[level] = counts.get(level, 0) + 1
        return _numbered(numbering, counts[level])
    counts.pop(level, None)
    if look is None:
        return None
    if look.find(A + "buNone") is not None:
        return ""
    return None if look.find(A + "buChar") is None else "-"


def _numbered(numbering: Element, count: int) -> str:
    start = numbering.get("startAt") or "1"
    number = count - 1 + (int(start) if start.isascii() and start.isdigit() else 1)
    form = _NUMBERING.fullmatch(numbering.get("type") or "")
    return _AROUND[form[2]].format(numeral(number, _FORMS[form[1]])) if form else f"{number}."
