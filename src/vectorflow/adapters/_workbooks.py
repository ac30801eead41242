"""Spreadsheets -> blocks: what the extractors of old and new workbooks share."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from vectorflow.adapters._blocks import Block, Heading, repeated
from vectorflow.adapters._tables import table_blocks
from vectorflow.errors import BrokenFile, EncryptedFile

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

MAX_WORKBOOK = 256 << 20
"""Bytes; a sheet in memory takes some ten times as many."""

_EXACT = 1 << 53
"""Whole numbers below have all their digits in a binary fraction."""


def workbook_blocks(data: bytes) -> Iterator[Block]:
    """Give a heading and a table for each sheet, hidden ones too; of formulas, the last results.

    Raises:
        EncryptedFile: It cannot be read without a password.
        BrokenFile: It is no workbook, or a damaged one; perhaps after some sheets.
    """
    from python_calamine import (  # noqa: PLC0415 - most processes read no workbooks
        CalamineError,
        CalamineWorkbook,
        PasswordError,
        SheetTypeEnum,
    )

    try:
        workbook = CalamineWorkbook.from_filelike(BytesIO(data))
        for number, sheet in enumerate(workbook.sheets_metadata):
            if sheet.typ is SheetTypeEnum.WorkSheet:
                yield Heading(1, sheet.name)
                yield from table_blocks(_rows(workbook.get_sheet_by_index(number)))
    except PasswordError:
        raise EncryptedFile("it is encrypted") from None
    except CalamineError:
        # Not `from error`: it may quote a cell.
        raise BrokenFile("it is no workbook, or a damaged one") from None


def _rows(sheet: "CalamineSheet") -> Iterator[list[str]]:
    """Give the rows that hold anything, from the first column that does."""
    merged = _Merged(sheet)
    for number, values in enumerate(sheet.iter_rows(), start=merged.first_row):
        row = [_WRITERS.get(type(value), str)(value) for value in values]
        merged.fill(number, row)
        if any(row):
            yield row


class _Merged:
    """Repeats a cell that was merged with those below it, so that each row says all of its own."""

    def __init__(self, sheet: "CalamineSheet") -> None:
        self.first_row, self._first_column = sheet.start or (0, 0)
        self._begins: dict[int, list[tuple[int, int]]] = {}
        """Row -> columns of merged cells that begin there, and their last rows."""
        self._open: dict[int, tuple[str, int]] = {}
        """Column -> text and last row of the cell that reaches into the next rows."""
        for (top, left), (bottom, _) in sheet.merged_cell_ranges or ():
            if bottom > top and left >= self._first_column:
                column = left - self._first_column
                self._begins.setdefault(top, []).append((column, bottom))

    def fill(self, number: int, row: list[str]) -> None:
        for column, (text, last) in list(self._open.items()):
            if number > last:
                del self._open[column]
            elif any(row):
                row[column] = row[column] or text
        for column, last in self._begins.pop(number, ()):
            if column < len(row) and row[column]:
                self._open[column] = (repeated(row[column]), last)


def _number(value: float) -> str:
    """Write a number with the 15 digits that spreadsheets show: the rest is noise."""
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return f"{value:.15g}"


def _moment(value: datetime) -> str:
    """Write a point in time; midnight is what a mere date has."""
    if value.time() == time():
        return value.date().isoformat()
    return value.isoformat(" ", "seconds")


def _duration(value: timedelta) -> str:
    minutes, seconds = divmod(round(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    bool: lambda value: "TRUE" if value else "FALSE",
    float: _number,
    datetime: _moment,
    date: date.isoformat,
    time: lambda value: value.isoformat("seconds"),
    timedelta: _duration,
}
