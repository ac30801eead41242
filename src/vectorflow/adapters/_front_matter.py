"""What stands before a Markdown document, between two lines of dashes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import chain, islice

from vectorflow.adapters._blocks import line as in_one_line
from vectorflow.adapters._text_outline import Line

_MOST = 1 << 16
"""Characters; what goes on longer is none."""

_LONGEST = 1000
"""Characters of a line that may be an entry; every record carries what it says."""

_NOTHING = Line("", begins=True, ends=True)

_PROPERTIES: Mapping[str, str] = {
    "title": "title",
    "author": "author",
    "date": "created",
    "lang": "language",
    "language": "language",
}
"""Keys that say what other formats say too, and the name that it has there."""

_ENTRY = re.compile(r"([A-Za-z]+):[ \t]+(\S.*)")
_QUOTED = re.compile(r"""(["'])((?:(?!\1|\\).)*)\1(?:\s+#.*)?\Z""")
_NO_SCALAR = re.compile(r"""[\[\]{}&*!|>%@`"'#]""")
_COMMENT = re.compile(r"(?<!\s)\s++#.*")
_BEFORE_OFFSET = re.compile(r" (?=[+-]\d)")


def part_front_matter(lines: Iterator[Line]) -> tuple[str, Iterator[Line]]:
    """Give the front matter, empty where there is none, and the lines that follow it."""
    taken = list(islice(lines, 2))
    first, second = (line.text.rstrip() for line in (*taken, _NOTHING, _NOTHING)[:2])
    if first != "---" or not second:
        return "", chain(taken, lines)
    length = len(taken[1].text)
    while taken[-1].text.rstrip() not in {"---", "..."}:
        line = next(lines, _NOTHING)
        taken.append(line)
        length += len(line.text)
        if not line.text or length > _MOST:
            return "", chain(taken, lines)
    return "".join(line.text for line in taken), lines


def properties(front_matter: str) -> Mapping[str, str]:
    """Read the entries of one line that are plain text; nested ones are left out."""
    found: dict[str, str] = {}
    for name, value in _entries(front_matter.splitlines()):
        kept = _iso(value) if name == "created" else in_one_line(value)
        if kept:
            found.setdefault(name, kept)
    return found


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        entry = _ENTRY.match(line) if len(line) <= _LONGEST else None
        name = _PROPERTIES.get(entry[1].lower()) if entry else None
        if entry and name:
            yield name, _scalar(entry[2].rstrip())


def _scalar(value: str) -> str:
    """Give a value of YAML if it is text without escapes, else nothing."""
    if quoted := _QUOTED.match(value):
        return quoted[2]
    return "" if _NO_SCALAR.match(value) else _COMMENT.sub("", value)


def _iso(value: str) -> str:
    """Write a date as ISO 8601; one in words or in the order of some country is left out."""
    try:
        if len(value) <= len("2026-11-26"):
            return date.fromisoformat(value).isoformat()
        return datetime.fromisoformat(_BEFORE_OFFSET.sub("", value)).isoformat()
    except ValueError:
        return ""
