"""Tables of RTF: rows are written one by one, and nothing says where a table ends."""

from collections.abc import Iterator

from vectorflow.adapters._blocks import repeated
from vectorflow.adapters._pieces import Grid

_LEFT, _ABOVE = "clmrg", "clvmrg"
MERGES = frozenset({_LEFT, _ABOVE})
"""Words that merge a cell with the one on the left, or with the one above."""

_WIDEST = 500
"""Columns that are read."""


class Rows:
    """Gathers the rows of one table; what is merged is written into each cell that it covers.

    What covers a whole row is written once.
    """

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._cells: list[str] = []
        self._lines: list[str] = []
        self._merge = ""
        self._merges: list[str] = []
        """Of the cells of this row."""

    def define_row(self) -> None:
        """Begin the definition of a row."""
        self._merges, self._merge = [], ""

    def merge(self, how: str) -> None:
        """Say of the cell that is defined next how it is merged."""
        self._merge = how

    def define_cell(self) -> None:
        """End the definition of a cell."""
        if len(self._merges) < _WIDEST:
            self._merges.append(self._merge)
        self._merge = ""

    def add_line(self, text: str) -> None:
        """Add a paragraph to the cell that is open."""
        if text:
            self._lines.append(text)

    def end_cell(self) -> None:
        """Close a cell."""
        if len(self._cells) < _WIDEST:
            self._cells.append(" ".join(self._lines))
        self._lines = []

    def end_row(self) -> None:
        """Close a row."""
        above = self._rows[-1] if self._rows else []
        alone = all(how == _LEFT for how in self._merges[1 : len(self._cells)])
        for at, how in enumerate(self._merges[: len(self._cells)]):
            if how == _ABOVE and at < len(above):
                self._cells[at] = repeated(above[at])
            elif how == _LEFT and at and not alone:
                self._cells[at] = repeated(self._cells[at - 1])
        self._rows.append(self._cells)
        self._cells = []

    def take(self) -> Iterator[Grid]:
        """Give the table that has ended, if there is one."""
        if self._lines:
            self.end_cell()
        if self._cells:
            self.end_row()
        rows, self._rows = self._rows, []
        if rows:
            yield Grid(rows)
