"""Events of an XML parser -> blocks, whatever the vocabulary.

An element that holds text and elements is a paragraph. One that holds elements alone is a record:
its name, then a line for each element in it that holds text alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.entities import html5
from itertools import groupby
from typing import NamedTuple

from vectorflow.adapters._blocks import Block, Code, Heading, Text
from vectorflow.errors import LimitExceeded

MAX_DEPTH = 1000
"""Elements in each other."""

_LONGEST = 1 << 16
"""Characters of a record or a paragraph, after which it goes on in a further one."""

_LONGEST_HEADING = 500
"""Characters."""

# Names of DocBook, DITA, JATS, TEI and HTML.
# fmt: off
_SECTIONS = frozenset({
    "section", "sect1", "sect2", "sect3", "sect4", "sect5", "simplesect", "sec", "div", "div1",
    "div2", "div3", "div4", "chapter", "appendix", "preface", "part", "topic",
})
_TITLES = frozenset({"title", "head"})
_PROSE = frozenset({
    "p", "para", "simpara", "formalpara", "ab", "shortdesc", "abstract", "li", "quote", "note",
})
"""Paragraphs, also where they hold text alone."""
_LAID_OUT = frozenset({
    "programlisting", "screen", "literallayout", "synopsis", "codeblock", "listing", "pre",
    "verbatim",
})
# fmt: on
_SILENT = frozenset({"xmlns", "xml", "xsi"})
"""Prefixes of attributes that say nothing of the document."""


@dataclass(slots=True, eq=False)
class _Element:
    name: str
    attributes: Mapping[str, str]
    parts: list[str] = field(default_factory=list[str])
    """Its text with that of elements in it; one in running text has the list of that."""
    is_inline: bool = False
    """It lies in running text."""
    has_text: bool = False
    has_elements: bool = False


class _Line(NamedTuple):
    record: _Element
    text: str


class Outline:
    """Takes the events of a parser; what is ready is to be taken after each of its steps."""

    def __init__(self) -> None:
        self._open: list[_Element] = []
        self._lines: list[_Line] = []
        self._held = 0
        """Characters of lines and of running text."""
        self._ready: list[Block] = []

    def taken(self) -> Iterator[Block]:
        """Give the blocks that are ready, once."""
        ready, self._ready = self._ready, []
        return iter(ready)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise LimitExceeded("depth", f"more than {MAX_DEPTH:,} elements lie in each other")
        element = _Element(_local(name), attributes)
        if self._open:
            self._nest(self._open[-1], element)
        self._open.append(element)

    def _nest(self, above: _Element, element: _Element) -> None:
        is_first, above.has_elements = not above.has_elements, True
        if element.name in _LAID_OUT:
            self._write_running()
        elif above.has_text or above.name in _LAID_OUT:
            element.is_inline = element.has_text = True
            element.parts = above.parts
        elif is_first:
            for name, value in _said(above):
                self._add(above, f"{name}: {value}")

    def text(self, data: str) -> None:
        if not self._open:
            return
        element = self._open[-1]
        element.parts.append(data)
        if not (element.has_text or data.isspace()):
            element.has_text = True
            # What looked like lines of a record are words of a paragraph.
            while self._lines and self._lines[-1].record is element:
                self._lines.pop()
        if element.has_text:
            self._held += len(data)
            if self._held > _LONGEST:
                self._write_running()

    def entity(self, name: str, _is_parameter: bool) -> None:
        """Take one that a document type elsewhere declares, if it is one that all know."""
        self.text(html5.get(f"{name};", ""))

    def end(self, _name: str) -> None:
        element = self._open[-1]
        above = self._open[-2] if len(self._open) > 1 else None
        if element.is_inline:
            pass
        elif above and element.name in _TITLES and above.name in _SECTIONS:
            self._write_heading(element)
        elif above is None or _is_paragraph(element):
            self._write_running()
        elif element.has_elements:
            self._write_lines()
            above.parts.clear()
        else:
            self._add_leaf(above, element)
        self._open.pop()

    def _add_leaf(self, record: _Element, element: _Element) -> None:
        text = _flowing(element)
        said = ", ".join(f"{name}: {value}" for name, value in _said(element))
        if text or said:
            record.parts.append(text)
            name = f"{element.name} ({said})" if said else element.name
            self._add(record, f"{name}: {text}" if text else name)

    def _add(self, record: _Element, line: str) -> None:
        self._lines.append(_Line(record, line))
        self._held += len(line)
        if self._held > _LONGEST:
            self._write_lines()

    def _write_lines(self) -> None:
        for record, lines in groupby(self._lines, lambda line: line.record):
            self._ready.append(Text("\n".join([f"{record.name}:", *(line.text for line in lines)])))
            record.parts.clear()
        self._lines.clear()
        self._held = 0

    def _write_running(self) -> None:
        """Write the text of the element that is open, and what comes before it."""
        self._write_lines()
        element = next(one for one in reversed(self._open) if not one.is_inline)
        if element.name in _LAID_OUT:
            language = element.attributes.get("language") or element.attributes.get("lang") or ""
            self._ready.append(Code("".join(element.parts), language.lower()))
        else:
            self._ready.append(Text(_flowing(element)))
        element.parts.clear()

    def _write_heading(self, element: _Element) -> None:
        text = _flowing(element)
        level = sum(1 for one in self._open if one.name in _SECTIONS)
        self._write_lines()
        self._ready.append(Heading(level, text) if len(text) <= _LONGEST_HEADING else Text(text))


def _is_paragraph(element: _Element) -> bool:
    if element.name in _LAID_OUT:
        return True
    return element.has_text and (element.has_elements or element.name in _PROSE)


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _said(element: _Element) -> Iterator[tuple[str, str]]:
    """Give the attributes that say something."""
    for name, value in element.attributes.items():
        if value.strip() and name.partition(":")[0] not in _SILENT:
            yield _local(name), " ".join(value.split())


def _flowing(element: _Element) -> str:
    return " ".join("".join(element.parts).split())
