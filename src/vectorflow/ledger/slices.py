"""Long lists of ids, cut up: databases bound the number of values in one statement."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

IDS_AT_ONCE = 1000


def slices(values: Sequence[T], size: int = IDS_AT_ONCE) -> Iterator[Sequence[T]]:
    """Cut a list into pieces; none of an empty one."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
