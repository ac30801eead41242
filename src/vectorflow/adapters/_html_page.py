"""One parsed page of HTML: which part of it is content, and what it says of itself."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import accumulate
from typing import TYPE_CHECKING

from vectorflow.adapters._blocks import line
from vectorflow.errors import LimitExceeded

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_LEAST_MAIN = 200
"""Characters from which an element marked as the main one is believed to be it."""

_LEAST_SHARE = 4
"""A shorter one is, if it holds at least one in so many characters of the page."""

_MAIN = 'main, [role="main"]'
_DROPPED: Mapping[bytes, str] = {
    b"hidden": '[hidden]:not([hidden="until-found"])',
    b"display:none": '[style*="display:none" i]',
    b"display: none": '[style*="display: none" i]',
    b"aria-hidden": '[aria-hidden="true"]:not(img)',
    b"<dialog": "dialog:not([open])",
    b"headerlink": "a.headerlink",
    b"header-anchor": "a.header-anchor",
    b"hash-link": "a.hash-link",
    b"anchor": "a.anchor, a.anchorjs-link",
    b'class="mark"': 'a.mark[href^="#"]',
    b"lineno": ".linenos, .lineno, .linenodiv",
    b"mw-editsection": ".mw-editsection",
}
"""Elements that browsers do not show, or that decorate headings and code.

Each is looked for only in pages with the words before it: a look takes longer than the parsing.
"""

_MENUS = '[role="navigation"]'

_NAMES: Mapping[str, str] = {
    "author": "author",
    "dc.creator": "author",
    "dcterms.creator": "author",
    "description": "description",
    "dc.description": "description",
    "og:description": "description",
    "keywords": "keywords",
    "og:title": "title",
    "dc.title": "title",
    "date": "created",
    "dc.date": "created",
    "dcterms.created": "created",
    "article:published_time": "created",
    "dcterms.modified": "modified",
    "article:modified_time": "modified",
    "last-modified": "modified",
}
"""Names of meta elements -> properties; the first that is there counts."""

_DATES = frozenset({"created", "modified"})

_MAX_PROPERTY = 1000
"""Characters; it is stored with every chunk."""

MAX_DEPTH = 5000
"""Elements in each other; browsers keep 512. The time to parse grows with its square."""

_TAG = re.compile(
    rb"<(/?)(?!(?:area|base|body|br|col|colgroup|dd|dt|embed|head|hr|html|img|input|li|link|meta|"
    rb"optgroup|option|p|param|rp|rt|source|tbody|td|tfoot|th|thead|tr|track|wbr)\b)[a-z]"
)
"""The begin or end of an element that does not end by itself."""

_XHTML = re.compile(r"\s*<\?xml\s|\s*<!doctype[^>]*xhtml", re.IGNORECASE)
_SELF_CLOSED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr)[\s/])"
    r"([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)/>"
)


class Page:
    """A page of HTML, parsed as browsers do."""

    def __init__(self, text: str) -> None:
        """Parse it.

        Raises:
            LimitExceeded: It is nested too deeply.
        """
        from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - many processes read none

        if _XHTML.match(text):
            # Browsers read `<title/>` as a beginning when they take XHTML for HTML.
            text = _SELF_CLOSED.sub(r"<\1\2></\1>", text)
        data = text.encode(errors="ignore")
        lowered = data.lower()
        _check_depth(lowered)
        self._tree: LexborHTMLParser = LexborHTMLParser(data)
        seen = (query for words, query in _DROPPED.items() if words in lowered)
        self.dropped = self._ids(", ".join(seen))
        """Memory ids of elements that nobody sees; not removed, since one may lie in another."""
        self.menus = self._ids(_MENUS if b"navigation" in lowered else "")
        """Memory ids of elements that are menus, beside those named so."""

    def _ids(self, query: str) -> frozenset[int]:
        return frozenset(node.mem_id for node in self._tree.css(query)) if query else frozenset()

    @property
    def body(self) -> "LexborNode | None":
        """All of it."""
        return self._tree.body or self._tree.root

    @property
    def content(self) -> "LexborNode | None":
        """The main content if the page says clearly what that is, else all of it."""
        body = self.body
        marked = self._tree.css(_MAIN)
        if body is None or len(marked) != 1:
            return body
        length = len(marked[0].text(strip=True))
        is_main = length >= _LEAST_MAIN or length * _LEAST_SHARE >= len(body.text(strip=True))
        return marked[0] if is_main else body

    def properties(self) -> dict[str, str]:
        """Say what the page says of itself: title, author, description, language, dates."""
        found: dict[str, str] = {}
        for name, value in self._said():
            kept = _iso(value) if name in _DATES else line(value)[:_MAX_PROPERTY]
            if kept:
                found.setdefault(name, kept)
        return found

    def _said(self) -> Iterator[tuple[str, str]]:
        title = self._tree.css_first("head > title")
        if title is not None:
            yield "title", title.text()
        for meta in self._tree.css("meta[content]"):
            said = meta.attributes
            name = said.get("name") or said.get("property") or said.get("http-equiv") or ""
            if property_name := _NAMES.get(name.strip().lower()):
                yield property_name, said.get("content") or ""
        root = self._tree.css_first("html[lang]")
        if root is not None:
            yield "language", root.attributes.get("lang") or ""


def _check_depth(page: bytes) -> None:
    """Refuse a page, in lower case, that is nested too deeply."""
    if page.count(b"<") - page.count(b"</") <= MAX_DEPTH:
        return
    steps = [-1 if end else 1 for end in _TAG.findall(page)]
    depths = list(accumulate(steps, initial=0))
    if max(depths) - min(depths) <= MAX_DEPTH:
        return
    depth = 0
    for step in steps:
        depth = max(0, depth + step)
        if depth > MAX_DEPTH:
            message = f"more than {MAX_DEPTH:,} elements lie in each other"
            raise LimitExceeded("depth", message)


def _iso(value: str) -> str:
    """Write a date as ISO 8601; empty where it is none."""
    text = value.strip()
    with suppress(ValueError):
        datetime.fromisoformat(text)
        return text
    with suppress(ValueError, TypeError, IndexError):
        return parsedate_to_datetime(text).isoformat()
    return ""
