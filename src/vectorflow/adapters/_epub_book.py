"""The package of an EPUB book: which files make it, in which order, and their names."""

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from vectorflow.adapters._archives import read
from vectorflow.adapters._html_decoding import decoded_page
from vectorflow.adapters._html_page import Page
from vectorflow.adapters._properties import NAMES, named, properties
from vectorflow.adapters._xml_tree import Element, parse
from vectorflow.errors import BrokenFile, EncryptedFile

_DC = "{http://purl.org/dc/elements/1.1/}"
_DATES = {"publication": "created", "creation": "created", "modification": "modified"}
"""Events of EPUB 2 -> our names; a date without one is that of the publication."""

_TYPE = "{http://www.idpf.org/2007/ops}type"
_NCX = "application/x-dtbncx+xml"
_CHAPTERS = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document"})

_MAX_PART = 64 << 20
"""Bytes of a file that is read whole."""

_DEEPEST = 20
"""Levels of the table of contents."""


class Entry(NamedTuple):
    """A line of the table of contents."""

    level: int
    """1 is the outermost."""
    title: str


class _Item(NamedTuple):
    path: str
    kind: str
    """Media type."""
    properties: str


@dataclass(frozen=True)
class Book:
    """One opened book."""

    archive: ZipFile

    @cached_property
    def chapters(self) -> list[str]:
        """Files with text in the order of reading, without the table of contents.

        Raises:
            BrokenFile: There is none.
            EncryptedFile: One is encrypted; fonts may be.
        """
        named = (self._items.get(one.get("idref") or "") for one in self._opf.iter("{*}itemref"))
        texts = [one for one in named if one and one.kind in _CHAPTERS and self._has(one.path)]
        if self._encrypted.intersection(one.path for one in texts):
            raise EncryptedFile("its chapters are encrypted, as sold books often are")
        found = [one.path for one in texts if "nav" not in one.properties.split()]
        if not found:
            raise BrokenFile("it is a book without chapters")
        return found

    @cached_property
    def contents(self) -> Mapping[str, Entry]:
        """File -> the first entry of the table of contents that leads to it."""
        found: dict[str, Entry] = {}
        for path, entry in self._entries():
            found.setdefault(path, entry)
        return found

    @cached_property
    def properties(self) -> Mapping[str, str]:
        """What the book says of itself."""
        return properties(self._said())

    def page(self, path: str) -> Page:
        """Parse a file with text."""
        return Page(decoded_page(read(self.archive, path, _MAX_PART)))

    @cached_property
    def _opf_path(self) -> str:
        if not self._has("META-INF/container.xml"):
            raise BrokenFile("it is a ZIP archive, but no book")
        for root in self._part("META-INF/container.xml").iter("{*}rootfile"):
            if self._has(path := posixpath.normpath(root.get("full-path") or "")):
                return path
        raise BrokenFile("it is a ZIP archive, but no book")

    @cached_property
    def _opf(self) -> Element:
        return self._part(self._opf_path)

    @cached_property
    def _items(self) -> Mapping[str, _Item]:
        return {
            one.get("id") or "": _Item(
                path=_joined(self._opf_path, one.get("href") or ""),
                kind=(one.get("media-type") or "").lower(),
                properties=one.get("properties") or "",
            )
            for one in self._opf.iter("{*}item")
        }

    @cached_property
    def _encrypted(self) -> frozenset[str]:
        listed = "META-INF/encryption.xml"
        if not self._has(listed):
            return frozenset()
        references = self._part(listed).iter("{*}CipherReference")
        return frozenset(_joined("", one.get("URI") or "") for one in references)

    def _entries(self) -> Iterator[tuple[str, Entry]]:
        """Read the table of contents of EPUB 3, else that of EPUB 2."""
        navs = [one.path for one in self._items.values() if "nav" in one.properties.split()]
        ncxs = [one.path for one in self._items.values() if one.kind == _NCX]
        for path in filter(self._has, (*navs, *ncxs)):
            with suppress(BrokenFile):  # the text of the book can be read without it
                root = self._part(path)
                for level, title, href in _links(root) if path in navs else _points(root, 0):
                    yield _joined(path, href), Entry(level, title)
                return

    def _said(self) -> Iterator[tuple[str, str]]:
        for element in self._opf.iter(*(_DC + name for name in NAMES)):
            yield from named([element])
        for element in self._opf.iter(_DC + "date"):
            event = element.get("{http://www.idpf.org/2007/opf}event") or "publication"
            yield _DATES.get(event, "created"), element.text or ""
        for element in self._opf.iter("{*}meta"):
            if element.get("property") == "dcterms:modified":
                yield "modified", element.text or ""

    def _has(self, path: str) -> bool:
        return path in self.archive.NameToInfo

    def _part(self, path: str) -> Element:
        return parse(read(self.archive, path, _MAX_PART), doctype=True)


def _joined(base: str, href: str) -> str:
    """Name the file that an address in another file leads to."""
    try:
        path = unquote(urlsplit(href).path)
    except ValueError:
        return ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path)) if path else base


def _links(root: Element) -> Iterator[tuple[int, str, str]]:
    """Read the navigation document of EPUB 3: level, title and address."""
    for nav in root.iter("{*}nav"):
        if "toc" in (nav.get(_TYPE) or "").split():
            for link in nav.iter("{*}a"):
                yield _lists_around(link), _words(link), link.get("href") or ""


def _lists_around(element: Element) -> int:
    count, parent = 0, element.getparent()
    while parent is not None and not parent.tag.endswith("}nav"):
        count += parent.tag.endswith("}ol")
        parent = parent.getparent()
    return max(1, min(count, _DEEPEST))


def _points(element: Element, level: int) -> Iterator[tuple[int, str, str]]:
    """Read the NCX of EPUB 2: level, title and address."""
    if level > _DEEPEST:
        return
    for child in element:
        if child.tag.endswith("}navPoint"):
            label, content = child.find("{*}navLabel"), child.find("{*}content")
            if label is not None and content is not None:
                yield level + 1, _words(label), content.get("src") or ""
            yield from _points(child, level + 1)
        elif child.tag.endswith("}navMap"):
            yield from _points(child, level)


def _words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())
