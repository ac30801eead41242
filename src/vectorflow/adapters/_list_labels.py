"""Labels of list items: most formats keep the rules that labels follow, and no labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vectorflow.adapters._numerals import numeral

BULLET = "-"
DEEPEST = 8
"""Level of the innermost list, counted from 0; Word has nine."""

_PLACE = re.compile(r"%([1-9])")


class Level(NamedTuple):
    """How one level of a list is labelled."""

    form: str
    """`bullet`, `none`, or how its numbers are written."""
    text: str = ""
    """Of the label: `%2` is the number of the second level."""
    start: int = 1
    digits: bool = False
    """Whether all numbers in its label are written in digits."""


_UNKNOWN = Level("bullet")


@dataclass(slots=True)
class Labels:
    """Counts the items of a list."""

    levels: Mapping[int, Level]
    _counts: dict[int, int] = field(default_factory=dict[int, int])
    """Of the levels that have begun."""

    def restart(self, level: int, number: int) -> None:
        """Give the next item of a level this number."""
        self._counts[level] = number - 1

    def next(self, level: int) -> str:
        """Count an item, and say what stands before its text: `-`, `1.`, `(a)`, or nothing."""
        rule = self._rule(level)
        for deeper in [one for one in self._counts if one > level]:
            del self._counts[deeper]
        for above in range(level):
            self._counts.setdefault(above, self._rule(above).start)
        self._counts[level] = self._counts.get(level, rule.start - 1) + 1
        if rule.form == "bullet":
            return BULLET
        return "" if rule.form == "none" else self._written(rule)

    def _rule(self, level: int) -> Level:
        return self.levels.get(level, _UNKNOWN)

    def _written(self, rule: Level) -> str:
        def number(place: re.Match[str]) -> str:
            level = int(place[1]) - 1
            form = "decimal" if rule.digits else self._rule(level).form
            return numeral(self._counts.get(level, 1), form)

        return _PLACE.sub(number, rule.text)
