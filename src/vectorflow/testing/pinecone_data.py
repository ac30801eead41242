"""What the Pinecone emulator keeps: indexes, namespaces with their log of writes, filters."""

import operator
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

Metadata: TypeAlias = dict[str, str | float | bool | list[str]]
Kind: TypeAlias = Literal["vectors", "documents"]

MAX_RECORDS, MAX_IDS, MAX_ID, MAX_TOP_K = 1_000, 1_000, 512, 10_000
MAX_BODY, MAX_METADATA, MAX_RESULT = 2_000_000, 40 * 1024, 4_000_000
CLASSIC_FIELD = "_values"
"""What the control plane calls the one vector of an index that was made without a schema."""


class Refusal(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A vector with its metadata."""

    id: str
    values: NDArray[np.float32]
    metadata: Metadata


@dataclass(slots=True)
class Namespace:
    """Writes get a number at once and show after the delay, in order."""

    records: dict[str, Record] = field(default_factory=dict[str, Record])
    committed: int = 0
    indexed: int = 0
    _log: list[tuple[float, Callable[[dict[str, Record]], None]]] = field(
        default_factory=list[tuple[float, Callable[[dict[str, Record]], None]]]
    )

    def write(self, change: Callable[[dict[str, Record]], None], delay: float) -> None:
        """Append a change to the log."""
        self.committed += 1
        self._log.append((time.monotonic() + delay, change))

    def read(self) -> dict[str, Record]:
        """Give the records as they show now."""
        while self._log and self._log[0][0] <= time.monotonic():
            self._log.pop(0)[1](self.records)
            self.indexed += 1
        return self.records


@dataclass(slots=True, kw_only=True)
class Index:
    """An index of one project; it answers at a port of its own."""

    name: str
    project: str
    fields: dict[str, dict[str, object]]
    vector_field: str
    dimension: int
    metric: str
    host: str = ""
    namespaces: dict[str, Namespace] = field(default_factory=dict[str, Namespace])

    @property
    def kind(self) -> Kind:
        """Which data plane it answers on."""
        return "vectors" if self.vector_field == CLASSIC_FIELD else "documents"

    def namespace(self, name: str) -> Namespace:
        """Give a namespace, made on first use."""
        return self.namespaces.setdefault(named(name), Namespace())

    def seen(self, name: str) -> dict[str, Record]:
        """Give the visible records of a namespace; none where it is missing.

        Raises:
            Refusal: It is missing, or does not show yet, in an index of documents.
        """
        held = self.namespaces.get(named(name), Namespace())
        records = held.read()
        if self.kind == "documents" and held.indexed == 0:
            raise Refusal(404, "Namespace not found")
        return records


def named(namespace: str) -> str:
    """Resolve the two names of the default namespace to one."""
    return "" if namespace == "__default__" else namespace


def check_id(id: object) -> str:
    """Refuse what is no id."""
    if not isinstance(id, str) or not 1 <= len(id) <= MAX_ID or not id.isascii() or "\0" in id:
        raise Refusal(400, f"ids are 1 to {MAX_ID} ASCII characters")
    return id


def check_vector(values: object, dimension: int) -> NDArray[np.float32]:
    """Refuse vectors of another length, and zero vectors."""
    if not isinstance(values, list):
        raise Refusal(400, "Vector values must be a list of numbers")
    if len(values) != dimension:
        message = f"Vector dimension {len(values)} does not match the dimension of the index"
        raise Refusal(400, f"{message} {dimension}")
    vector = np.asarray(values, dtype=np.float32)
    if not vector.any():
        raise Refusal(400, "Dense vectors must contain at least one non-zero value.")
    return vector


def check_metadata(given: Mapping[str, object]) -> Metadata:
    """Refuse nulls, nesting and more than 40 KB; numbers become float64."""
    size = len(orjson.dumps(given))
    if size > MAX_METADATA:
        message = f"Metadata size is {size} bytes, which exceeds the limit of {MAX_METADATA}"
        raise Refusal(400, f"{message} bytes per vector")
    return {key: _value(key, value) for key, value in given.items()}


def _value(key: str, value: object) -> str | float | bool | list[str]:
    if key.startswith("$"):
        raise Refusal(400, f"Metadata key {key!r} must not start with '$'")
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list):
        strings = [item for item in value if isinstance(item, str)]
        if len(strings) == len(value):
            return strings
    message = "Metadata value must be a string, number, boolean or list of strings"
    raise Refusal(400, f"{message}, got a {type(value).__name__} for field {key!r}")


def ranked(
    records: Sequence[Record], wanted: NDArray[np.float32], metric: str, top_k: int
) -> Iterator[tuple[Record, float]]:
    """Give the nearest records and their scores, the best first."""
    if not records:
        return
    vectors = np.stack([record.values for record in records]).astype(np.float64)
    if metric == "euclidean":
        scores = -((vectors - wanted) ** 2).sum(axis=1)
    else:
        scores = vectors @ wanted.astype(np.float64)
        if metric == "cosine":
            scores = scores / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted))
    for row in np.argsort(-scores, kind="stable")[:top_k]:
        yield records[row], abs(float(scores[row])) if metric == "euclidean" else float(scores[row])


def matching(records: Mapping[str, Record], filter: object) -> list[Record]:
    """Give the records that a filter lets through; no filter lets all through."""
    return [record for record in records.values() if matches(record.metadata, filter or {})]


def matches(metadata: Mapping[str, object], filter: object) -> bool:
    """Say whether metadata passes a filter.

    Raises:
        Refusal: It uses an operator that there is not.
    """
    if not isinstance(filter, dict):
        raise Refusal(400, "filter must be an object")
    return all(_passes(metadata, key, condition) for key, condition in filter.items())


def _passes(metadata: Mapping[str, object], key: str, condition: object) -> bool:
    if key in {"$and", "$or"}:
        if not isinstance(condition, list) or not condition:
            raise Refusal(400, f"{key} takes a list of filters")
        combined = (matches(metadata, one) for one in condition)
        return all(combined) if key == "$and" else any(combined)
    if key.startswith("$"):
        raise Refusal(400, f"unknown operator {key}")
    tests = condition if isinstance(condition, dict) else {"$eq": condition}
    return all(_holds(metadata.get(key), name, wanted) for name, wanted in tests.items())


def _holds(held: object, name: str, wanted: object) -> bool:
    if name == "$exists":
        return (held is not None) is wanted
    if name in {"$eq", "$in"}:
        return _equal(held, wanted if name == "$in" else [wanted])
    if name in {"$ne", "$nin"}:
        return not _equal(held, wanted if name == "$nin" else [wanted])
    compare = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
    if name not in compare:
        raise Refusal(400, f"unknown operator {name}")
    if not isinstance(held, float) or not isinstance(wanted, int | float):
        return False
    return bool(compare[name](held, wanted))


def _equal(held: object, wanted: object) -> bool:
    """Whether a value is one of those wanted; of a list, whether one of its values is."""
    if not isinstance(wanted, list):
        raise Refusal(400, "$in and $nin take a list")
    values = held if isinstance(held, list) else [held]
    return any(
        value == one and isinstance(value, bool) == isinstance(one, bool)
        for value in values
        for one in wanted
    )
