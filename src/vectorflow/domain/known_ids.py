"""Which ids a set may hold, in eight bytes each: spares asking a store about ids that are new."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ODD = np.uint64(0x9E3779B97F4A7C15)


class KnownIds:
    """A set of UUIDs that only grows. Never wrong about an id it holds."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # sorted, each longer than the next

    def add(self, ids: Sequence[str]) -> None:
        """Add ids in their canonical form."""
        keys = _keys(ids)
        while self._runs and len(self._runs[-1]) <= len(keys):
            keys = np.sort(np.concatenate([self._runs.pop(), keys]), kind="stable")
        if len(keys):
            self._runs.append(keys)

    def may_hold_any(self, ids: Sequence[str]) -> bool:
        """Whether one of these may be in the set; in 1 of 10^12 cases it is not."""
        keys = _keys(ids)
        return any(_meet(run, keys) for run in self._runs)


def _keys(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Mix the first and last eight digits, all of them hash in a UUIDv5; sorted."""
    digits = np.array(ids, dtype="S36").view(np.uint8).reshape(-1, 36)
    first = np.ascontiguousarray(digits[:, :8]).view(np.uint64).ravel()
    last = np.ascontiguousarray(digits[:, 28:]).view(np.uint64).ravel()
    return np.sort(first * _ODD ^ last)


def _meet(run: NDArray[np.uint64], keys: NDArray[np.uint64]) -> bool:
    places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
    return bool((run[places] == keys).any())
