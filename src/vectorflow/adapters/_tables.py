"""Rows of a file or a sheet -> blocks: which of the first rows names the columns."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from vectorflow.adapters._blocks import Block, Table, Text

_LOOKED_AT = 20
"""Rows that tell what the first ones are."""

_YEARS = range(1900, 2101)

_LONGEST_COUNT = 9
"""Digits of what may count columns; Python refuses to read numbers of thousands."""

_NUMBER = re.compile(r"[-+(]?[$€£¥]?\s?\d[\d.,'\s]*(?:[eE][-+]?\d+)?\s?[%$€£¥)]?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ]\d{1,2}:\d{2}.*)?")


def table_blocks(rows: Iterator[Sequence[str]]) -> Iterator[Block]:
    """Give what stands above a table as text, then the table, as its rows come.

    Its first row names the columns, unless it holds values itself: then they are named by number.
    Rows must not be empty.
    """
    first = list(islice(rows, _LOOKED_AT))
    titles = _titles(first)
    for row in first[:titles]:
        yield Text(" ".join(filter(None, row)))
    if table := first[titles:]:
        yield Table(chain(_names(table), table, rows))


def _titles(first: Sequence[Sequence[str]]) -> int:
    """Count the rows above the table: with one cell each, where most have several."""
    filled = [sum(map(bool, row)) for row in first]
    usual = sorted(filled)[len(filled) // 2] if filled else 0
    if usual < 2:  # noqa: PLR2004 - a table of one column has no titles to tell from rows
        return 0
    return next((at for at, cells in enumerate(filled) if cells > 1), 0)


def _names(table: Sequence[Sequence[str]]) -> Iterator[Sequence[str]]:
    if _holds_values(table[0]):
        yield [f"column {number}" for number in range(1, max(map(len, table)) + 1)]


def _holds_values(row: Sequence[str]) -> bool:
    """Tell a row of data from one of names, which may be years or count from 1."""
    cells = [cell.strip() for cell in row if cell.strip()]
    values = [cell for cell in cells if _NUMBER.fullmatch(cell) or _DATE.fullmatch(cell)]
    if not values:
        return False
    if not all(cell.isdecimal() for cell in values) or len(values) == len(cells) == 1:
        return True
    if max(map(len, values)) > _LONGEST_COUNT:
        return True
    numbers = [int(cell) for cell in values]
    years = all(number in _YEARS for number in numbers)
    counted = numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in {0, 1}
    return not ((years or counted) and len(numbers) > 1)
