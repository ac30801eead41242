"""Tables of HTML: which of them hold data, and what is in their columns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vectorflow.adapters._blocks import Block, Table, Text
from vectorflow.adapters._html_inline import INLINE, SKIPPED, TEXT, alternative, formula, joined

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

# fmt: off
_LAYOUT = frozenset({
    "table", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "main", "article", "section", "form",
})
# fmt: on
"""What only lies in tables that set things side by side."""

_STANDING: Mapping[str | None, Callable[["LexborNode"], str]] = {
    "img": alternative,
    "math": formula,
}
"""What is read instead of elements."""

_GROUPS = frozenset({"thead", "tbody", "tfoot"})
_CELLS = frozenset({"td", "th"})

_LONGEST_CELL = 2000
"""Characters; a longer one is a text of its own."""

_WIDEST = 1000
"""Columns that a cell may span, as the HTML standard has it."""

_LONGEST_SPAN = 65_534
"""Rows that a cell may span, as the HTML standard has it."""

_ROOM = 1 << 18
"""Characters that cells which span several may add to one table."""


class _Cell(NamedTuple):
    text: str
    columns: int
    rows: int
    is_name: bool


class _NoDataError(Exception):
    """The table lays out what is in it."""


def table_blocks(table: "LexborNode", dropped: frozenset[int]) -> list[Block] | None:
    """Give a table of data as blocks; None for one that only sets things side by side."""
    if table.attributes.get("role") in {"presentation", "none"}:
        return None
    captions: list[Block] = []
    rows: list[list[_Cell]] = []
    try:
        for part in _parts(table):
            if part.tag == "caption":
                captions.append(Text(_cell_text(part, dropped)))
            elif part.mem_id not in dropped and (cells := list(_cells(part, dropped))):
                rows.append(cells)
        return captions + _written(rows)
    except _NoDataError:
        return None


def _parts(table: "LexborNode") -> Iterator["LexborNode"]:
    """Give the captions and rows."""
    for child in table.iter():
        if child.tag in _GROUPS:
            yield from child.iter()
        else:
            yield child


def _cells(row: "LexborNode", dropped: frozenset[int]) -> Iterator[_Cell]:
    for node in row.iter():
        if (tag := node.tag) in _CELLS and node.mem_id not in dropped:
            said = node.attributes
            columns = _span(said.get("colspan"), _WIDEST)
            rows = _span(said.get("rowspan"), _LONGEST_SPAN)
            yield _Cell(_cell_text(node, dropped), columns, rows, tag == "th")


def _span(said: str | None, most: int) -> int:
    digits = (said or "").strip()[:6]
    return max(1, min(int(digits), most)) if digits.isdecimal() else 1


def _cell_text(cell: "LexborNode", dropped: frozenset[int]) -> str:
    parts: list[str] = []
    stack = [cell.iter(include_text=True)]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif (tag := node.tag) == TEXT:
            parts.append(node.text_content or "")
        elif tag in _LAYOUT:
            raise _NoDataError
        elif tag in _STANDING:
            parts.append(_STANDING[tag](node))
        elif tag not in SKIPPED and node.mem_id not in dropped:
            parts.append("" if tag in INLINE else " ")
            stack.append(node.iter(include_text=True))
    text = joined(parts)
    if len(text) > _LONGEST_CELL:
        raise _NoDataError
    return text


def _written(rows: Sequence[list[_Cell]]) -> list[Block]:
    if not rows:
        raise _NoDataError
    if all([cell.is_name for cell in cells] == [True, False] for cells in rows):
        return [Text("\n".join(f"{name.text}: {value.text}" for name, value in rows))]
    has_title = len(rows[0]) == 1 and len(rows) > 1
    columns = _Grid()
    grid = [row for cells in rows[has_title:] if any(row := columns.filled(cells))]
    if len(grid) < 2 or max(map(len, grid)) < 2:  # noqa: PLR2004 - a row of names and one of data
        raise _NoDataError
    return [*([Text(rows[0][0].text)] if has_title else ()), Table(grid)]


class _Grid:
    """Gives each row all its columns: a cell that spans several is in all of them."""

    def __init__(self) -> None:
        self._room = _ROOM
        self._above: dict[int, tuple[str, int]] = {}
        """Column -> the text of a cell that reaches into further rows, and how many."""

    def filled(self, cells: Sequence[_Cell]) -> list[str]:
        row: list[str] = []
        for cell in cells:
            self._carry(row)
            self._place(row, cell)
        last = max(self._above, default=-1)
        self._carry(row)
        while len(row) <= last:
            row.append("")
            self._carry(row)
        return row

    def _carry(self, row: list[str]) -> None:
        """Go on with the cells above that are next."""
        while (column := len(row)) in self._above:
            text, rows = self._above.pop(column)
            if rows > 1:
                self._above[column] = (text, rows - 1)
            self._repeat(row, text)

    def _place(self, row: list[str], cell: _Cell) -> None:
        begin = len(row)
        row.append(cell.text)
        for _ in range(1, cell.columns):
            self._repeat(row, cell.text)
        if cell.rows > 1:
            self._above.update((at, (cell.text, cell.rows - 1)) for at in range(begin, len(row)))

    def _repeat(self, row: list[str], text: str) -> None:
        self._room -= len(text) + 1
        if self._room < 0:
            raise _NoDataError
        row.append(text)
