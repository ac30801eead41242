"""Styles of a Word document: which paragraphs are headings, code or items of a list."""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from vectorflow.adapters._pieces import CODE_STYLES
from vectorflow.adapters._xml_tree import Element, properties_of

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"

_PROPERTIES = W + "pPr"
_HEADING = re.compile(r"heading ([1-9])")
_BODY_LEVEL = 9
"""Outline level, counted from 0, of text that is no heading."""

_DEEPEST_BASE = 20
"""Styles that are based on each other; Word allows 10."""


class ListPlace(NamedTuple):
    """Where a paragraph stands in a list."""

    list_id: str
    level: int
    """0 is the outermost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What matters of how a paragraph looks."""

    level: int = 0
    """Of a heading, 1 is the outermost; 0 is other text."""
    title: bool = False
    """Of the whole document."""
    code: bool = False
    over_contents: bool = False
    """The heading of a table of contents."""
    place: ListPlace | None = None


class Styles:
    """The styles that a document declares."""

    def __init__(self, root: Element | None) -> None:
        declared = filter(_is_style, () if root is None else root)
        self._declared = {one.get(W + "styleId") or "": one for one in declared}
        self._known = {"": Style()}
        defaults = (name for name, one in self._declared.items() if one.get(W + "default") == "1")
        self._default = next(defaults, "")

    def of(self, paragraph: Element) -> Style:
        """Tell how a paragraph looks, by its style and then by what it says itself."""
        own = properties_of(paragraph, _PROPERTIES)
        if own is None or len(own) == 0:
            return self._named(self._default)
        return _changed(self._named(value(own, "pStyle") or self._default), own)

    def _named(self, name: str, depth: int = 0) -> Style:
        if name in self._known:
            return self._known[name]
        declared = self._declared.get(name)
        if declared is None or depth > _DEEPEST_BASE:
            return Style()
        base = self._named(value(declared, "basedOn"), depth + 1)
        # Names of built-in styles are English in every language of Word; ids are not.
        # What is made from the title, as `Author` may be, is none.
        named = _by_name(replace(base, title=False), value(declared, "name").lower())
        own = declared.find(W + "pPr")
        self._known[name] = named if own is None else _changed(named, own)
        return self._known[name]


def value(element: Element, child: str) -> str:
    """Give the value of a child; empty where it has none."""
    found = element.find(W + child)
    return "" if found is None else found.get(W + "val") or ""


def number(element: Element, child: str, otherwise: int) -> int:
    """Give the value of a child that is a number from 0 to 9999."""
    text = value(element, child)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else otherwise  # noqa: PLR2004


def is_on(element: Element, child: str) -> bool:
    """Tell whether a switch is set: it is there and not set to nothing."""
    found = element.find(W + child)
    return found is not None and found.get(W + "val") not in {"0", "false", "off", "none"}


def _is_style(element: Element) -> bool:
    return element.tag == W + "style" and element.get(W + "type") == "paragraph"


def _by_name(base: Style, name: str) -> Style:
    if heading := _HEADING.fullmatch(name):
        return replace(base, level=int(heading[1]))
    if name == "title":
        return replace(base, title=True)
    if name == "toc heading":
        return replace(base, over_contents=True)
    return replace(base, code=True) if name in CODE_STYLES else base


def _changed(style: Style, own: Element) -> Style:
    """Apply the properties of a style, or those of a paragraph itself."""
    if value(own, "outlineLvl"):
        level = number(own, "outlineLvl", _BODY_LEVEL)
        style = replace(style, level=0 if level >= _BODY_LEVEL else level + 1)
    listed = own.find(W + "numPr")
    if listed is None:
        return style
    before = style.place or ListPlace("0", 0)
    list_id = value(listed, "numId") or before.list_id
    place = ListPlace(list_id, min(number(listed, "ilvl", before.level), 8))
    return replace(style, place=None if list_id == "0" else place)
