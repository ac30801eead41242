"""Down the tree of an HTML page and up again: elements -> blocks."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vectorflow.adapters._blocks import Block, Code, Heading, Text
from vectorflow.adapters._html_inline import (
    LINE_BREAK,
    SKIPPED,
    alternative,
    formula,
    joined,
    shown,
)
from vectorflow.adapters._html_page import Page
from vectorflow.adapters._html_tables import table_blocks

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

# fmt: off
_BLOCKS = (
    "address", "article", "aside", "body", "caption", "center", "dd", "details", "dir", "div",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html",
    "legend", "main", "optgroup", "p", "search", "section", "summary", "tbody", "td", "tfoot",
    "th", "thead", "tr",
)
# fmt: on

_LONGEST_HEADING = 500
"""Characters; what is longer is text that was only made large."""

_DEEPEST_INDENT = 8
"""Lists and quotes; those further in are not set in any further."""

_MENU_LINKS = 0.6
"""Share of the characters of a menu that are links."""

_LANGUAGE = re.compile(
    r"(?<!\S)(?:(?:language|lang|highlight-source|highlight)-|brush:\s*)([\w+#.]+)"
)
_LANGUAGES: Mapping[str, str] = {
    **dict.fromkeys(("default", "none", "text", "plaintext", "plain", "notranslate"), ""),
    "python3": "python",
    "pycon3": "pycon",
}
"""Names that are none, or not the usual ones."""

Leave = Callable[[], None]
"""What is done when the end of an element is reached."""

Enter = Callable[["LexborNode"], Leave | None]
"""What is done when its begin is reached; None says that nothing below is to be walked over."""


@dataclass(slots=True)
class _Indent:
    """What a list item or a quote sets its lines in with."""

    first: str
    rest: str

    def take(self) -> str:
        """Give what the next line begins with; a marker is written once."""
        taken, self.first = self.first, self.rest
        return taken


class Walk:
    """One walk over a page. It never calls itself: pages may be nested as deep as they like."""

    def __init__(self, page: Page, *, menus: bool = False) -> None:
        self._dropped = page.dropped
        self._marked = page.dropped | page.menus
        self._keeps_menus = menus
        self._open_menus = 0
        self._inline: list[str] = []
        self._lines: list[str] = []
        """Of a list, or terms that wait for their meaning."""
        self._ready: list[Block] = []
        self._indents: list[_Indent] = []
        self._counts: list[int | None] = []
        """Of the open lists: the number of the next item; None where there are none."""
        self._level = 0
        """Of the heading that is open."""
        self._enters = self._by_tag()
        self._known = dict[int, Enter]()
        """By the ids that selectolax gives tags; those of unknown tags differ from page to page."""

    def blocks(self, root: "LexborNode | None") -> Iterator[Block]:
        """Give what is below an element as blocks, in order."""
        stack: list[tuple[Iterator[LexborNode], Leave]] = []
        if root is not None:
            stack.append((root.iter(include_text=True), self._end_block))
        while stack:
            children, leave = stack[-1]
            for node in children:
                if (text := node.text_content) is not None:
                    self._inline.append(text)
                elif (entered := self._enter(node)) is not None:
                    stack.append((node.iter(include_text=True), entered))
                    break
            else:
                stack.pop()
                leave()
            if self._ready:
                yield from self._ready
                self._ready.clear()
        self._close()
        yield from self._ready

    def _by_tag(self) -> dict[str, Enter]:
        return {
            **dict.fromkeys(SKIPPED, _skip),
            **dict.fromkeys(_BLOCKS, self._block),
            **dict.fromkeys(("ul", "menu", "dir"), self._list),
            **dict.fromkeys(("pre", "listing", "xmp", "plaintext"), self._code),
            **dict.fromkeys(("button", "label"), self._apart),
            **{f"h{level}": partial(self._heading, level) for level in range(1, 7)},
            "blockquote": self._quote,
            "br": self._line_break,
            "dl": self._terms,
            "dt": self._term,
            "img": self._picture,
            "li": self._item,
            "math": self._formula,
            "nav": self._menu,
            "ol": self._numbered,
            "q": self._quotation,
            "table": self._table,
        }

    def _learn(self, node: "LexborNode") -> Enter:
        enter = self._known[node.tag_id] = self._enters.get(node.tag or "", self._inside)
        return enter

    def _enter(self, node: "LexborNode") -> Leave | None:
        enter = self._known.get(node.tag_id) or self._learn(node)
        if self._marked and (marked := node.mem_id) in self._marked:
            return None if marked in self._dropped else self._menu(node)
        return enter(node)

    def _inside(self, node: "LexborNode") -> Leave | None:
        only = node.first_child
        if only is not None and only.next is None and (text := only.text_content) is not None:
            self._inline.append(text)
            return None
        return _stay

    def _apart(self, _node: "LexborNode") -> Leave:
        self._inline.append(" ")
        return partial(self._inline.append, " ")

    def _quotation(self, _node: "LexborNode") -> Leave:
        self._inline.append("\u201c")
        return partial(self._inline.append, "\u201d")

    def _line_break(self, _node: "LexborNode") -> None:
        self._inline.append(LINE_BREAK)

    def _picture(self, node: "LexborNode") -> None:
        self._inline.append(alternative(node))

    def _formula(self, node: "LexborNode") -> None:
        self._inline.append(formula(node))

    def _block(self, _node: "LexborNode") -> Leave:
        self._end_block()
        return self._end_block

    def _heading(self, level: int, _node: "LexborNode") -> Leave:
        self._end_block()
        self._level = level
        return self._end_heading

    def _end_heading(self) -> None:
        self._end_block()
        self._level = 0

    def _list(self, _node: "LexborNode") -> Leave:
        self._end_block()
        self._counts.append(None)
        return self._end_list

    def _numbered(self, node: "LexborNode") -> Leave:
        self._end_block()
        start = (node.attributes.get("start") or "").strip()[:6]
        self._counts.append(int(start) if start.isdecimal() else 1)
        return self._end_list

    def _end_list(self) -> None:
        self._end_block()
        self._counts.pop()
        if not self._counts:
            self._close()

    def _item(self, _node: "LexborNode") -> Leave:
        self._end_block()
        number = self._counts[-1] if self._counts else None
        if number is not None:
            self._counts[-1] = number + 1
        marker = "- " if number is None else f"{number}. "
        return self._indent(marker, " " * len(marker))

    def _quote(self, _node: "LexborNode") -> Leave:
        self._end_block()
        return self._indent("> ", "> ")

    def _indent(self, first: str, rest: str) -> Leave:
        self._indents.append(_Indent(first, rest))
        return self._end_indent

    def _end_indent(self) -> None:
        self._end_block()
        self._indents.pop()

    def _terms(self, _node: "LexborNode") -> Leave:
        self._end_block()
        return self._end_terms

    def _end_terms(self) -> None:
        self._end_block()
        if not self._counts:
            self._close()

    def _term(self, _node: "LexborNode") -> Leave:
        self._end_block()
        return self._end_term

    def _end_term(self) -> None:
        """Keep a term with what explains it."""
        self._end_block(goes_on=True)

    def _menu(self, node: "LexborNode") -> Leave | None:
        self._end_block()
        # Asked only of the outermost, or a page of nested menus would be read again and again.
        if not self._keeps_menus and not self._open_menus and _is_menu(node):
            return None
        self._open_menus += 1
        return self._end_menu

    def _end_menu(self) -> None:
        self._end_block()
        self._open_menus -= 1

    def _table(self, node: "LexborNode") -> Leave | None:
        self._end_block()
        if (blocks := table_blocks(node, self._dropped)) is None:
            return self._end_block
        self._close()
        self._ready += blocks
        return None

    def _code(self, node: "LexborNode") -> None:
        self._end_block()
        self._close()
        self._ready.append(Code(shown(_laid_out(node)), _language(node)))

    def _end_block(self, *, goes_on: bool = False) -> None:
        """Write the running text as a paragraph."""
        if not self._inline:
            return
        text = joined(self._inline)
        self._inline.clear()
        if not text:
            return
        if self._level and len(text) <= _LONGEST_HEADING:
            self._close()
            self._ready.append(Heading(self._level, text))
            self._level = 0
            return
        indents = self._indents[:_DEEPEST_INDENT]
        first = "".join([indent.take() for indent in indents])
        rest = "".join([indent.rest for indent in indents])
        self._lines.append(first + text.replace("\n", "\n" + rest))
        if not goes_on and not self._counts:
            self._close()

    def _close(self) -> None:
        """End what the lines held so far belong to."""
        if self._lines:
            self._ready.append(Text("\n".join(self._lines)))
            self._lines.clear()


def _stay() -> None:
    """Do nothing at the end of what parts no words."""


def _skip(_node: "LexborNode") -> None:
    """Do not look into an element."""


def _is_menu(node: "LexborNode") -> bool:
    links = sum(len(link.text(strip=True)) for link in node.css("a"))
    return links >= _MENU_LINKS * len(node.text(strip=True))


def _laid_out(node: "LexborNode") -> str:
    """Give text whose lines and spaces count."""
    if node.css_first("br") is None:
        return node.text()
    parts = node.traverse(include_text=True)
    return "".join("\n" if part.tag == "br" else part.text_content or "" for part in parts)


def _language(node: "LexborNode") -> str:
    """Say what code is written in, as the classes of it and the elements around it tell."""
    inside = node.css_first("code")
    around = (inside, node, node.parent, node.parent and node.parent.parent)
    for one in filter(None, around):
        if found := _LANGUAGE.search((one.attributes.get("class") or "").lower()):
            return _LANGUAGES.get(found[1], found[1])
    return ""
