"""Charts and diagrams of Office documents: the numbers and words that they show."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice

from vectorflow.adapters._blocks import Table, Text
from vectorflow.adapters._drawing_text import lines
from vectorflow.adapters._pieces import Item, Piece
from vectorflow.adapters._xml_tree import Element

_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_D = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"

_NAMES = ("cat", "xVal")
_VALUES = ("val", "yVal")
_FIRST_DAY = date(1899, 12, 30)
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')
_DATE = re.compile(r"[dy]", re.IGNORECASE)

_MOST_POINTS = 5000
"""Of one series; more are a curve, and no words."""


def chart_pieces(chart: Element) -> Iterator[Piece]:
    """Give the title of a chart, and its values as a table of a column for each series."""
    title = chart.find(f"{_C}chart/{_C}title")
    if title is not None and (text := " ".join(lines(title))):
        yield Text(text)
    series = list(chart.iter(_C + "ser"))
    names: dict[int, str] = {}
    for one in series:
        names = {**_points(one, _NAMES), **names}
    columns = [_points(one, _VALUES) for one in series]
    places = sorted({*names, *(place for column in columns for place in column)})
    header = ["", *map(_name, series)]
    rows = [[names.get(at, ""), *(one.get(at, "") for one in columns)] for at in places]
    if rows:
        yield Table([header, *rows])


def diagram_pieces(data: Element) -> Iterator[Piece]:
    """Give the words of a diagram as a list."""
    for point in data.iter(_D + "pt"):
        if text := " ".join(lines(point)):
            yield Item(0, "-", text)


def _name(series: Element) -> str:
    named = series.find(_C + "tx")
    return "" if named is None else " ".join(one.text or "" for one in named.iter(_C + "v"))


def _points(series: Element, kinds: Sequence[str]) -> Mapping[int, str]:
    """Give what is known of a series by place, numbers without the noise of binary fractions."""
    found: dict[int, str] = {}
    for kind in kinds:
        values = series.find(_C + kind)
        if values is not None:
            points = islice(values.iter(_C + "pt"), _MOST_POINTS)
            is_date = _counts_days(values)
            found.update(filter(None, (_point(point, is_date=is_date) for point in points)))
    return found


def _point(point: Element, *, is_date: bool) -> tuple[int, str] | None:
    place, value = point.get("idx") or "", point.find(_C + "v")
    if value is None or not (place.isascii() and place.isdigit()):
        return None
    return int(place), _readable(value.text or "", is_date=is_date)


def _counts_days(values: Element) -> bool:
    """Tell by their format whether numbers are dates: days since the end of 1899."""
    form = next(values.iter(_C + "formatCode"), None)
    return form is not None and bool(_DATE.search(_QUOTED.sub("", form.text or "")))


def _readable(value: str, *, is_date: bool) -> str:
    try:
        number = float(value)
        return str(_FIRST_DAY + timedelta(int(number))) if is_date else f"{number:.12g}"
    except (ValueError, OverflowError):
        return value
