"""XML of strangers: read without anything that reaches out, explodes or stays in memory."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import BinaryIO, Protocol

from vectorflow.errors import BrokenFile

_READ = 1 << 16

_STRICT = b"http://purl.oclc.org/ooxml/"
_NAMES = (
    (b"wordprocessingml/main", b"wordprocessingml/2006/main"),
    (b"presentationml/main", b"presentationml/2006/main"),
    (b"drawingml/main", b"drawingml/2006/main"),
    (b"drawingml/chart", b"drawingml/2006/chart"),
    (b"drawingml/diagram", b"drawingml/2006/diagram"),
    (b"officeDocument/relationships", b"officeDocument/2006/relationships"),
    (b"officeDocument/math", b"officeDocument/2006/math"),
)
"""Namespaces of strict Office Open XML (ISO/IEC 29500-1), and those that everybody writes."""


class Element(Protocol):
    """As much of an element of lxml as is used here; lxml has no types of its own."""

    tag: str
    text: str | None
    tail: str | None

    @property
    def attrib(self) -> Mapping[str, str]: ...
    def __iter__(self) -> Iterator["Element"]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> "Element": ...
    def __delitem__(self, index: int, /) -> None: ...
    def get(self, name: str, /) -> str | None: ...
    def find(self, path: str, /) -> "Element | None": ...
    def iter(self, /, *tags: str) -> "Iterator[Element]": ...
    def itertext(self, /) -> Iterator[str]: ...
    def getparent(self) -> "Element | None": ...
    def getprevious(self) -> "Element | None": ...
    def getroottree(self) -> "_Tree": ...
    def clear(self) -> None: ...


class _Docinfo(Protocol):
    doctype: str
    internalDTD: "_Dtd | None"  # noqa: N815 - lxml's name


class _Dtd(Protocol):
    def iterentities(self) -> Iterator[object]: ...


class _Tree(Protocol):
    docinfo: _Docinfo


def parse(data: bytes, *, doctype: bool = False) -> Element:
    """Read a whole document; comments are left out.

    Args:
        data: All of it.
        doctype: Whether it may name a document type; never one that declares entities.

    Raises:
        BrokenFile: It is no XML, or has what such documents never have.
    """
    import lxml.etree as etree  # noqa: PLC0415, PLR0402 - most processes read no XML

    whole = _transitional(data[:_READ]) + data[_READ:] if _STRICT in data[:_READ] else data
    try:
        root: Element = etree.fromstring(whole, _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise _damaged() from None
    _check_doctype(root, allowed=doctype)
    return root


def stream(source: BinaryIO, tags: Sequence[str]) -> Iterator[Element]:
    """Give the outermost elements of these tags in order; each is emptied when the next is asked.

    Raises:
        BrokenFile: As `parse` does, perhaps after some elements.
    """
    import lxml.etree as etree  # noqa: PLC0415, PLR0402 - most processes read no XML

    options = {"remove_comments": True, "remove_pis": True, "collect_ids": False, **_SAFE}
    parser = etree.XMLPullParser(("start", "end"), tag=tags, **options)
    depth, checked = 0, False
    try:
        for piece in _pieces(source):
            parser.feed(piece)
            for event, element in parser.read_events():
                depth += 1 if event == "start" else -1
                if event == "end" and depth == 0:
                    yield element
                    _forget(element)
                elif not checked:
                    _check_doctype(element, allowed=False)
                    checked = True
        parser.close()
    except (etree.XMLSyntaxError, ValueError):
        raise _damaged() from None


_SAFE = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
}


@cache
def _parser() -> object:
    """Make the parser of whole documents once: some have hundreds of small parts."""
    import lxml.etree as etree  # noqa: PLC0415, PLR0402 - most processes read no XML

    parser: object = etree.XMLParser(remove_comments=True, remove_pis=True, **_SAFE)
    return parser


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    yield _transitional(source.read(_READ))
    while piece := source.read(_READ):
        yield piece


def _transitional(head: bytes) -> bytes:
    """Write the namespaces of strict documents as those of all others."""
    if _STRICT not in head:
        return head
    for strict, known in _NAMES:
        head = head.replace(_STRICT + strict, b"http://schemas.openxmlformats.org/" + known)
    return head


def properties_of(element: Element, tag: str) -> Element | None:
    """Give the first child where it has this tag: much faster than to look for it."""
    return element[0] if len(element) and element[0].tag == tag else None


def _forget(element: Element) -> None:
    """Free an element, and those before it that nobody asked for."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _check_doctype(element: Element, *, allowed: bool) -> None:
    info = element.getroottree().docinfo
    declared = info.internalDTD is not None and any(True for _ in info.internalDTD.iterentities())
    if info.doctype and (declared or not allowed):
        raise BrokenFile("a part of it declares XML entities, as such documents never do")


def _damaged() -> BrokenFile:
    return BrokenFile("a part of it is damaged XML")
