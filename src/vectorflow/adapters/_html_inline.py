"""The running text inside of HTML elements."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

TEXT = "-text"
"""What selectolax calls the nodes of text."""

LINE_BREAK = "\1"
"""Stands for `br` until white space is joined: text has no use for it."""

_UNSHOWN = str.maketrans("", "", "\xad\ufffd")
"""Soft hyphens, and what references to characters that do not exist become."""

# fmt: off
SKIPPED = frozenset({
    "script", "style", "template", "noscript", "head", "title", "meta", "link", "base", "iframe",
    "frame", "frameset", "object", "embed", "applet", "audio", "video", "canvas", "svg", "select",
    "datalist", "input", "textarea", "area", "param", "source", "track", "col", "colgroup", "rp",
    "-comment", "-doctype",
})
# fmt: on
"""Elements without text of the page."""

# fmt: off
INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "ins", "kbd", "mark", "math", "mi", "mn", "mo", "mrow", "msub", "msup", "mtext",
    "nobr", "output", "q", "rb", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong",
    "sub", "sup", "time", "tt", "u", "var", "wbr",
})
# fmt: on
"""Elements that part no words."""


def shown(text: str) -> str:
    """Leave out what stands for no character."""
    return text.translate(_UNSHOWN) if "\xad" in text or "\ufffd" in text else text


def joined(parts: Iterable[str]) -> str:
    """Join text as browsers show it: white space is one space, only `br` begins a line."""
    text = shown("".join(parts))
    if LINE_BREAK not in text:
        return " ".join(text.split())
    lines = (" ".join(line.split()) for line in text.split(LINE_BREAK))
    return "\n".join(filter(None, lines))


def alternative(node: "LexborNode") -> str:
    """Give the text that stands for a picture, parted from what is around it."""
    text = node.attributes.get("alt") or ""
    return f" {text} " if text.strip() else ""


def formula(node: "LexborNode") -> str:
    """Give the TeX that many formulas of MathML carry, else what is to be read in it."""
    tex = node.css_first('annotation[encoding="application/x-tex"]')
    return (tex or node).text()
