"""Collections of Qdrant: what is told of them, making and marking them, and taking turns."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict, dataclass
from typing import TypedDict, cast

from vectorflow.adapters._qdrant_http import NOT_THERE, QdrantHttp
from vectorflow.adapters._qdrant_points import DOCUMENT, TERMS
from vectorflow.errors import CallRefused, IndexRefused, VectorFlowError
from vectorflow.ports.vector_store import Marker

PREFIX = "vectorflow_"
"""Names of collections that are no indexes begin so."""

_OLDEST = (1, 16)  # the first that keeps metadata of collections
_MARKER = "vectorflow"
_INDEXED = (DOCUMENT, TERMS)  # a server in strict mode filters by no other field
_DISTANCES = frozenset({"Cosine", "Dot", "Euclid"})  # of vectors of length 1: all rank alike
_THERE_ALREADY = 409
_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What we need to know of a collection."""

    dimensions: int
    is_euclidean: bool
    """Scores are distances of vectors of length 1, not cosines."""
    marker: Marker | None
    made_here: bool
    """VectorFlow has made it, so it may delete it."""
    indexed: frozenset[str]
    """Fields of the payload that have an index."""


class QdrantCollections:
    """The collections of one Qdrant."""

    def __init__(self, http: QdrantHttp, *, timeout: float) -> None:
        self._http = http
        self._timeout = timeout
        self._is_new_enough = False

    async def check_version(self) -> None:
        """Ask once.

        Raises:
            CallRefused: It is too old, or no Qdrant.
        """
        if self._is_new_enough:
            return
        told = (await self._http.ask("GET", "/")).json
        version = re.match(r"(\d+)\.(\d+)", str(told.get("version")))
        if version is None or "qdrant" not in str(told.get("title")):
            raise CallRefused(
                "something else than Qdrant answers at the store's address",
                fix="give host and port of Qdrant's REST, by default 6333",
            )
        if (int(version[1]), int(version[2])) < _OLDEST:
            fix = f"upgrade it to {_OLDEST[0]}.{_OLDEST[1]} or newer"
            raise CallRefused(f"this Qdrant is {version[0]}, which is too old", fix=fix)
        self._is_new_enough = True

    async def find(self, name: str) -> Collection | None:
        """Look at a collection.

        Raises:
            IndexRefused: It is of a kind that cannot hold records.
        """
        answer = await self._http.ask("GET", f"/collections/{name}", also={NOT_THERE})
        return _read(name, answer.result) if answer.ok else None

    async def make(self, name: str, marker: Marker) -> bool:
        """Create and mark it in one step; False where another caller was faster."""
        vectors = {"size": marker.dimensions, "distance": "Cosine"}
        wanted = {"vectors": vectors, "metadata": _metadata(marker, made_here=True)}
        path = f"/collections/{name}"
        answer = await self._http.ask("PUT", path, wanted, also={_THERE_ALREADY})
        if answer.ok:
            await self.index_payload(name, frozenset())
        return answer.ok

    async def mark(self, name: str, marker: Marker, *, made_here: bool) -> None:
        """Replace its marker."""
        wanted = {"metadata": _metadata(marker, made_here=made_here)}
        await self._http.ask("PATCH", f"/collections/{name}", wanted, also={NOT_THERE})

    async def remove(self, name: str) -> None:
        """Delete it with all its points."""
        await self._http.ask("DELETE", f"/collections/{name}", also={NOT_THERE})

    async def index_payload(self, name: str, indexed: frozenset[str]) -> None:
        """Index the fields we filter by, but for those that have an index."""
        for field in _INDEXED:
            if field not in indexed:
                wanted = {"field_name": field, "field_schema": "keyword"}
                path = f"/collections/{name}/index?wait=true"
                await self._http.ask("PUT", path, wanted, also={NOT_THERE})

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncGenerator[None]:
        """Let one caller at a time do what Qdrant cannot do in one step.

        Only one can make the collection that stands for the turn. Who dies in its turn leaves it
        behind, with the time when it is over.
        """
        path = f"/collections/{PREFIX}turn_{name}"
        until = {"until": time.time() + 2 * self._timeout}
        wanted = {"vectors": {"size": 1, "distance": "Dot"}, "metadata": until}
        while not (await self._http.ask("PUT", path, wanted, also={_THERE_ALREADY})).ok:
            answer = await self._http.ask("GET", path, also={NOT_THERE})
            if answer.ok and _until(answer.result) < time.time():
                await self._http.ask("DELETE", path, also={NOT_THERE})
            else:
                await asyncio.sleep(_PAUSE)
        try:
            yield
        finally:
            with contextlib.suppress(VectorFlowError):
                await self._http.ask("DELETE", path, also={NOT_THERE})


class _Vectors(TypedDict, total=False):
    size: int
    distance: str


class _Marker(TypedDict):
    ledger: str
    fingerprint: str
    incarnation: str
    dimensions: int


def _metadata(marker: Marker, *, made_here: bool) -> dict[str, object]:
    return {_MARKER: asdict(marker) | {"made_here": made_here}}


def _read(name: str, result: object) -> Collection:
    told = cast("Mapping[str, Mapping[str, object]]", result)
    config = cast("Mapping[str, Mapping[str, object] | None]", told["config"])
    vectors = cast("_Vectors", (config["params"] or {}).get("vectors") or {})
    size, distance = vectors.get("size"), vectors.get("distance")
    if size is None or "multivector_config" in vectors:
        raise IndexRefused(
            f"collection {name!r} has named vectors, or several for each point",
            fix="use a collection with one vector without a name, or another index name",
        )
    if distance not in _DISTANCES:
        raise IndexRefused(
            f"collection {name!r} ranks by the distance {distance}",
            fix="make it with the distance Cosine, or use another index name",
        )
    kept = dict(cast("Mapping[str, object]", (config.get("metadata") or {}).get(_MARKER) or {}))
    made_here = kept.pop("made_here", False) is True
    return Collection(
        dimensions=size,
        is_euclidean=distance == "Euclid",
        marker=Marker(**cast("_Marker", kept)) if kept else None,
        made_here=made_here,
        indexed=frozenset(told.get("payload_schema") or ()),
    )


def _until(result: object) -> float:
    config = cast("Mapping[str, Mapping[str, Mapping[str, float]]]", result)["config"]
    return (config.get("metadata") or {}).get("until", 0.0)
