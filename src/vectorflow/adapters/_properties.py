"""What documents say of themselves, by their names for it -> by ours."""

import re
from collections.abc import Iterable, Iterator, Mapping

from vectorflow.adapters._blocks import line
from vectorflow.adapters._xml_tree import Element

NAMES: Mapping[str, str] = {
    "title": "title",
    "initial-creator": "author",
    "creator": "author",
    "subject": "subject",
    "description": "description",
    "keyword": "keywords",
    "keywords": "keywords",
    "language": "language",
    "created": "created",
    "creation-date": "created",
    "modified": "modified",
}
"""Local names of Dublin Core and of what office formats add to it -> ours."""

_SEVERAL = frozenset({"author", "keywords", "subject"})
"""Those that a document may say in pieces."""

_DATES = frozenset({"created", "modified"})
_DATE = re.compile(r"\d{4}(?:-\d\d(?:-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?)?)?")
"""ISO 8601, from the year alone to a part of a second."""

_LONGEST = 1000
"""Characters: it is stored with every chunk."""


def properties(said: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Keep what is known and is not empty: of authors and keywords all, of others the first.

    Args:
        said: Our name and a value, as often as the document says it.
    """
    found: dict[str, list[str]] = {}
    for name, value in said:
        text = line(value)
        if text and (name not in _DATES or _DATE.fullmatch(text)):
            found.setdefault(name, []).append(text)
    return {
        name: (", ".join(dict.fromkeys(values)) if name in _SEVERAL else values[0])[:_LONGEST]
        for name, values in found.items()
    }


def named(
    elements: Iterable[Element], names: Mapping[str, str] = NAMES
) -> Iterator[tuple[str, str]]:
    """Give what elements say by their local names."""
    for element in elements:
        name = names.get(element.tag.rpartition("}")[2])
        if name:
            yield name, element.text or ""
