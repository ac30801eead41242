"""HTML -> text without structure: what the extractors of mails need of it."""

import re
from collections.abc import Iterator

# Put into the tree, and found again in its text: no node is taken out, so none is left dangling.
_HIDDEN, _SHOWN = "\x02", "\x03"
_LAID_OUT, _FLOWING = "\x0e", "\x0f"
_LINE = "\x1e"
_CELL = "\x1f"
_MARKS = re.compile("([\x02\x03\x0e\x0f])")
_ANY_MARK = re.compile("[\x02\x03\x0e\x0f\x1e\x1f]")

_UNSEEN = (
    "head, script, style, template, noscript, svg, title, [hidden], "
    '[style*="display:none"], [style*="display: none"]'
)
_PARAGRAPHS = "p, h1, h2, h3, h4, h5, h6, blockquote, table, ul, ol, hr"
_BLOCKS = (
    "address, article, aside, center, dd, div, dl, dt, fieldset, figure, footer, form, header, li, "
    f"main, nav, pre, section, tr, {_PARAGRAPHS}"
)
_PLACED = (
    ("pre", _LAID_OUT, _FLOWING),
    ("br", "", _LINE),
    ("td, th", "", _CELL),
    (_BLOCKS, _LINE, _LINE),
    (_PARAGRAPHS, _LINE, _LINE),  # the second makes an empty line
    (_UNSEEN, _HIDDEN, _SHOWN),
)
"""Elements, and what stands before and after them; the later, the nearer."""

_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def text_of(html: str) -> str:
    """Reduce HTML to what a reader sees: a line per block, cells of a row parted by `|`."""
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - takes time to import

    tree = LexborHTMLParser(_ANY_MARK.sub("", html))
    for query, before, after in _PLACED:
        for node in tree.css(query):
            if before:
                node.insert_before(before)
            node.insert_after(after)
    text = tree.body.text() if tree.body else ""
    lines = map(_cells, "".join(_seen(text)).split(_LINE))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _seen(text: str) -> Iterator[str]:
    """Give what is not hidden, with white space folded where it flows."""
    hidden = laid_out = 0
    for piece in _MARKS.split(text):
        match piece:
            case "\x02":
                hidden += 1
            case "\x03":
                hidden -= 1
            case "\x0e":
                laid_out += 1
            case "\x0f":
                laid_out -= 1
            case _ if hidden <= 0:
                yield piece.replace("\n", _LINE) if laid_out > 0 else _SPACES.sub(" ", piece)
            case _:
                pass


def _cells(line: str) -> str:
    return " | ".join(cell for part in line.split(_CELL) if (cell := part.strip()))
