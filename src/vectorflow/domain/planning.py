"""Plan: which chunks of a new version are new, measured against the live manifest."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vectorflow.domain.manifests import BaseColumns, ChunkHashes, as_hashes, record_id

ABSENT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One part, planned: a value per chunk, in order."""

    record_ids: list[str]
    first_versions: list[int]
    vector_of: list[str | None]
    """The base record whose vector is copied; None for kept records and for what is embedded."""

    def new_rows(self, version: int) -> int:
        """Records that are not in the store yet."""
        return sum(first == version for first in self.first_versions)


@dataclass(slots=True)
class Plan:
    """Match the chunks of one new version, part after part, with its base.

    Equal record hashes are matched as a multiset, in order: three equal chunks before and two after
    keep two records. A base record serves one chunk only, across all parts of the version.
    """

    incarnation: uuid.UUID
    document: int
    version: int
    base: BaseColumns
    _order: NDArray[np.intp] = field(init=False)
    _sorted: NDArray[np.void] = field(init=False)
    _taken: NDArray[np.bool_] = field(init=False)
    _input_order: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        self._order = np.argsort(self.base.record_hash, kind="stable")
        self._sorted = self.base.record_hash[self._order]
        self._taken = np.zeros(len(self._order), dtype=bool)
        self._input_order = np.argsort(self.base.input_hash, kind="stable")

    def resume(self, record_ids: Sequence[str]) -> None:
        """Take the base records that committed parts of this version already keep."""
        kept = set(record_ids)
        rows = self.base.record_id[self._order]
        self._taken |= np.fromiter((row in kept for row in rows), dtype=bool, count=len(rows))

    def match(self, first_position: int, hashes: ChunkHashes) -> Planned:
        """Plan the next chunks; `first_position` is the position of the first of them."""
        rows = self._match_records(hashes.records)
        sources = self._match_inputs(hashes.inputs)
        planned = Planned(record_ids=[], first_versions=[], vector_of=[])
        for offset, (row, source) in enumerate(zip(rows, sources, strict=True)):
            if row != ABSENT:
                planned.record_ids.append(str(self.base.record_id[row]))
                planned.first_versions.append(int(self.base.first_version[row]))
                planned.vector_of.append(None)
                continue
            position = first_position + offset
            digest = hashes.records[offset]
            planned.record_ids.append(
                record_id(self.incarnation, self.document, self.version, position, digest)
            )
            planned.first_versions.append(self.version)
            planned.vector_of.append(None if source == ABSENT else str(self.base.record_id[source]))
        return planned

    def _match_records(self, wanted: Sequence[bytes]) -> list[int]:
        """Give the base row that each chunk keeps, or ABSENT."""
        if not len(self._sorted) or not wanted:
            return [ABSENT] * len(wanted)
        column = as_hashes(wanted)
        lows = np.searchsorted(self._sorted, column, side="left")
        highs = np.searchsorted(self._sorted, column, side="right")
        return [self._take(low, high) for low, high in zip(lows, highs, strict=True)]

    def _take(self, low: int, high: int) -> int:
        """Take the first free row among equal hashes."""
        free = np.flatnonzero(~self._taken[low:high])
        if not len(free):
            return ABSENT
        self._taken[low + free[0]] = True
        return int(self._order[low + free[0]])

    def _match_inputs(self, wanted: Sequence[bytes]) -> list[int]:
        """Give a base row with the same input for each chunk, or ABSENT."""
        if not len(self._input_order) or not wanted:
            return [ABSENT] * len(wanted)
        column = as_hashes(wanted)
        ordered = self.base.input_hash[self._input_order]
        spots = np.minimum(np.searchsorted(ordered, column), len(ordered) - 1)
        found = ordered[spots] == column
        rows = self._input_order[spots]
        return [int(row) if hit else ABSENT for row, hit in zip(rows, found, strict=True)]
