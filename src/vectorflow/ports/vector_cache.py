"""The port `vector_cache`: vectors made before, kept on this machine; never needed to be right."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from vectorflow.domain.pipelines import Fingerprint
from vectorflow.domain.records import Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheScope:
    """Whose vectors, of which model: what was kept in one scope is found in no other."""

    ledger: str
    """Identity of the ledger that knows the tenant."""
    tenant: str
    fingerprint: Fingerprint


class Found(NamedTuple):
    """The vectors that were there."""

    positions: NDArray[np.intp]
    """Of their hashes among those asked for, ascending."""
    vectors: Matrix

    @classmethod
    def nothing(cls, dimensions: int) -> Self:
        """Give what is found where nothing is."""
        return cls(np.empty(0, dtype=np.intp), np.empty((0, dimensions), dtype=np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheView:
    """What a cache holds, and what it was good for since it was made."""

    vectors: int
    bytes: int
    segments: int
    hits: int
    misses: int


class VectorCache(Protocol):
    """Raises nothing: what cannot be read was not there, what cannot be written is not kept."""

    @abstractmethod
    async def find(self, scope: CacheScope, keys: Sequence[bytes]) -> Found:
        """Look thousands of input hashes up at once."""
        ...

    @abstractmethod
    async def keep(self, scope: CacheScope, keys: Sequence[bytes], vectors: Matrix) -> None:
        """Keep vectors by input hash, until there is no room for them or they are too old."""
        ...


class NoCache(VectorCache):
    """Keeps nothing."""

    async def find(self, scope: CacheScope, keys: Sequence[bytes]) -> Found:  # noqa: ARG002
        """Find nothing."""
        return Found.nothing(scope.fingerprint.dimensions)

    async def keep(self, scope: CacheScope, keys: Sequence[bytes], vectors: Matrix) -> None:
        """Do nothing."""
