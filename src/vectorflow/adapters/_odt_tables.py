"""Tables of OpenDocument texts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vectorflow.adapters._blocks import repeated
from vectorflow.adapters._odt_styles import number
from vectorflow.adapters._xml_tree import Element

_T = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"

TABLE = _T + "table"
_ROW = _T + "table-row"
_CELL = _T + "table-cell"
_COVERED = _T + "covered-table-cell"
_GROUPS = frozenset({_T + "table-header-rows", _T + "table-rows", _T + "table-row-group"})
_WIDEST = 500
"""Columns that are read."""
_TALLEST = 1000
"""Rows that one cell covers, or that one row stands for."""


@dataclass(slots=True)
class _Reach:
    """A cell that goes on in the rows below."""

    text: str
    rows: int


@dataclass(slots=True)
class Rows:
    """Reads one table; what is merged is written into each cell that it covers.

    What covers a whole row is written once.
    """

    text: Callable[[Element], str]
    """Gives the text of a cell."""
    _reaching: dict[int, _Reach] = field(default_factory=dict[int, _Reach])
    """Columns that cells above reach into."""

    def read(self, table: Element) -> Iterator[list[str]]:
        for child in table:
            if child.tag in _GROUPS:
                yield from self.read(child)
            elif child.tag == _ROW:
                cells = self._row(child)
                times = number(child, _T + "number-rows-repeated", 1, _TALLEST)
                yield cells
                if any(cells):
                    yield from [list(map(repeated, cells))] * (times - 1)

    def _row(self, row: Element) -> list[str]:
        cells: list[str] = []
        found = [cell for cell in row if cell.tag in {_CELL, _COVERED}]
        alone = sum(cell.tag == _CELL for cell in found) == 1
        for cell in found:
            times = number(cell, _T + "number-columns-repeated", 1, _WIDEST - len(cells))
            for again in range(times):
                text = self._cell(cell, cells, alone=alone)
                cells.append(repeated(text) if again else text)
        return cells

    def _cell(self, cell: Element, before: list[str], *, alone: bool) -> str:
        at = len(before)
        reach = self._reaching.get(at)
        if cell.tag == _COVERED:
            if reach is not None and reach.rows > 0:
                reach.rows -= 1
                return repeated(reach.text)
            return "" if alone or not before else repeated(before[-1])
        text = self.text(cell)
        rows = number(cell, _T + "number-rows-spanned", 1, _TALLEST)
        for column in range(at, at + number(cell, _T + "number-columns-spanned", 1, _WIDEST)):
            self._reaching[column] = _Reach(text, rows - 1)
        return text
