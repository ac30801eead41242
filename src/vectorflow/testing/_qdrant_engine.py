"""One collection of `qdrant_server`: JSON as Qdrant's REST has it, over Qdrant's segment engine."""

import shutil
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import orjson
import qdrant_edge as edge

Json = dict[str, object]
_Id = int | uuid.UUID | str
_T = TypeVar("_T")

_FACTS = "collection.json"
_SHARD = "shard"
_MAX_DIMENSIONS = 65_536
_DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Dot": edge.Distance.Dot,
    "Euclid": edge.Distance.Euclid,
    "Manhattan": edge.Distance.Manhattan,
}
_SCHEMAS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "uuid": edge.PayloadSchemaType.Uuid,
}
_USUAL: Json = {
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1_000,
        "default_segment_number": 0,
        "flush_interval_sec": 5,
    },
    "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
    "quantization_config": None,
}


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """A folder with the facts of a collection, and a shard of the engine."""

    def __init__(self, folder: Path, shard: edge.EdgeShard, facts: Json) -> None:
        self._folder = folder
        self._shard = shard
        self._facts = facts
        self._lock = threading.Lock()

    @classmethod
    def make(cls, folder: Path, wanted: Mapping[str, object]) -> "Collection":
        """Create it in a folder that is not yet there."""
        vectors = wanted.get("vectors") or {}
        config = edge.EdgeConfig(vectors=_vector_params(_object(vectors)))
        folder.mkdir(parents=True)
        try:
            shard = edge.EdgeShard.create(str(folder / _SHARD), config)
        except Exception as error:
            shutil.rmtree(folder)
            raise Refused(400, f"Wrong input: {error}") from error
        facts: Json = {"vectors": vectors, "metadata": wanted.get("metadata") or {}, "schema": {}}
        made = cls(folder, shard, facts)
        made._save()
        return made

    @classmethod
    def load(cls, folder: Path) -> "Collection":
        """Open what another server has left."""
        facts = cast("Json", orjson.loads((folder / _FACTS).read_bytes()))
        return cls(folder, edge.EdgeShard.load(str(folder / _SHARD)), facts)

    def close(self) -> None:
        """Write everything to the disk."""
        with self._lock:
            self._shard.close()

    def remove(self) -> None:
        """Close it and delete its files."""
        self.close()
        shutil.rmtree(self._folder)

    def info(self) -> Json:
        """Give what `GET /collections/NAME` shows."""
        points = self._do(lambda: self._shard.count(edge.CountRequest()))
        params = {"vectors": self._facts["vectors"], "shard_number": 1, "replication_factor": 1}
        schema = {
            name: {"data_type": kind, "points": points}
            for name, kind in _object(self._facts["schema"]).items()
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": points,
            "segments_count": 1,
            "config": _USUAL | {"params": params, "metadata": self._facts["metadata"]},
            "payload_schema": schema,
        }

    def update(self, wanted: Mapping[str, object]) -> None:
        """Merge metadata into what is there; null removes a key."""
        with self._lock:
            merged = _object(self._facts["metadata"]) | _object(wanted.get("metadata") or {})
            kept = {key: value for key, value in merged.items() if value is not None}
            self._facts = self._facts | {"metadata": kept}
            self._save()

    def index(self, wanted: Mapping[str, object]) -> None:
        """Index a field of the payload."""
        schema = wanted.get("field_schema")
        kind = str(schema.get("type") if isinstance(schema, dict) else schema)
        if kind not in _SCHEMAS:
            raise Refused(400, f"Format error in JSON body: no schema {kind}")
        name = str(wanted["field_name"])
        self._update(edge.UpdateOperation.create_field_index(name, _SCHEMAS[kind]))
        with self._lock:
            self._facts = self._facts | {"schema": _object(self._facts["schema"]) | {name: kind}}
            self._save()

    def parse_points(self, body: Mapping[str, object]) -> Callable[[], None]:
        """Check an upsert, and give what does it."""
        points = [edge.Point(*row) for row in _rows(body)]
        return lambda: self._update(edge.UpdateOperation.upsert_points(points))

    def parse_delete(self, body: Mapping[str, object], *, strict: bool) -> Callable[[], None]:
        """Check a delete, and give what does it."""
        if "points" in body:
            ids = [_id(one) for one in _list(body["points"])]
            return lambda: self._update(edge.UpdateOperation.delete_points(ids))
        if (wanted := self._filter(body, strict=strict)) is None:
            raise Refused(422, "Validation error in JSON body: neither points nor filter")
        return lambda: self._update(edge.UpdateOperation.delete_points_by_filter(wanted))

    def retrieve(self, body: Mapping[str, object]) -> list[Json]:
        """Give points by their ids."""
        ids = [_id(one) for one in _list(body.get("ids"))]
        payload, vector = _payload(body, default=True), bool(body.get("with_vector"))
        found = self._do(lambda: self._shard.retrieve(ids, payload, vector))
        return [_record(one) for one in found]

    def scroll(self, body: Mapping[str, object], *, strict: bool) -> Json:
        """Give a page of points."""
        request = edge.ScrollRequest(
            offset=None if body.get("offset") is None else _id(body["offset"]),
            limit=_int(body.get("limit"), 10),
            filter=self._filter(body, strict=strict),
            with_payload=_payload(body, default=True),
            with_vector=bool(body.get("with_vector")),
        )
        points, more = self._do(lambda: self._shard.scroll(request))
        return {
            "points": [_record(one) for one in points],
            "next_page_offset": None if more is None else _plain_id(more),
        }

    def count(self, body: Mapping[str, object], *, strict: bool) -> Json:
        """Count points."""
        request = edge.CountRequest(exact=True, filter=self._filter(body, strict=strict))
        return {"count": self._do(lambda: self._shard.count(request))}

    def query(self, body: Mapping[str, object], *, strict: bool) -> Json:
        """Find the nearest points."""
        wanted = body.get("query")
        vector = wanted.get("nearest") if isinstance(wanted, dict) else wanted
        request = edge.QueryRequest(
            limit=_int(body.get("limit"), 10),
            offset=_int(body.get("offset"), 0),
            query=edge.Query.Nearest(_floats(vector)),
            filter=self._filter(body, strict=strict),
            with_payload=_payload(body, default=False),
            with_vector=bool(body.get("with_vector")),
        )
        found = self._do(lambda: self._shard.query(request))
        return {"points": [_record(one) | {"version": 0, "score": one.score} for one in found]}

    def _filter(self, body: Mapping[str, object], *, strict: bool) -> edge.Filter | None:
        if not body.get("filter"):
            return None
        indexed = frozenset(_object(self._facts["schema"])) if strict else None
        return _filter(_object(body["filter"]), indexed)

    def _update(self, operation: edge.UpdateOperation) -> None:
        self._do(lambda: self._shard.update(operation))

    def _do(self, call: Callable[[], _T]) -> _T:
        try:
            with self._lock:
                return call()
        except Exception as error:  # the engine has no class of its own
            raise Refused(400, f"Wrong input: {error}") from error

    def _save(self) -> None:
        (self._folder / _FACTS).write_bytes(orjson.dumps(self._facts))


def _vector_params(
    vectors: Json,
) -> edge.EdgeVectorParams | dict[str, edge.EdgeVectorParams]:
    if "size" in vectors:
        return _params(vectors)
    return {name: _params(_object(params)) for name, params in vectors.items()}


def _params(vectors: Json) -> edge.EdgeVectorParams:
    size, distance = _int(vectors.get("size"), 0), str(vectors.get("distance"))
    if not 1 <= size <= _MAX_DIMENSIONS or distance not in _DISTANCES:
        raise Refused(422, f"Validation error in JSON body: vectors of {size} by {distance}")
    return edge.EdgeVectorParams(size, _DISTANCES[distance])


def _rows(body: Mapping[str, object]) -> list[tuple[_Id, list[float], Json]]:
    if "batch" in body:
        batch = _object(body["batch"])
        columns = [_list(batch[name]) for name in ("ids", "vectors", "payloads")]
        if len({len(column) for column in columns}) != 1:
            raise Refused(422, "Validation error in JSON body: columns of different lengths")
        rows = list(zip(*columns, strict=True))
    else:
        points = [_object(one) for one in _list(body.get("points"))]
        rows = [(one.get("id"), one.get("vector"), one.get("payload")) for one in points]
    return [(_id(one), _floats(vector), _object(payload or {})) for one, vector, payload in rows]


def _filter(wanted: Json, indexed: frozenset[str] | None) -> edge.Filter:
    must, must_not, should = (
        [_condition(_object(one), indexed) for one in _list(wanted.get(name) or [])]
        for name in ("must", "must_not", "should")
    )
    return edge.Filter(must=must, should=should or None, must_not=must_not)


def _condition(wanted: Json, indexed: frozenset[str] | None) -> "edge.ConditionType":
    if "has_id" in wanted:
        return edge.HasIdCondition({_id(one) for one in _list(wanted["has_id"])})
    if "key" not in wanted:
        return _filter(wanted, indexed)
    key, match = str(wanted["key"]), _object(wanted.get("match"))
    if indexed is not None and key not in indexed:
        raise Refused(400, f'Bad request: Index required but not found for "{key}"')
    if "value" in match:
        return edge.FieldCondition(key, match=edge.MatchValue(cast("str", match["value"])))
    if "any" in match:
        return edge.FieldCondition(key, match=edge.MatchAny(cast("list[str]", match["any"])))
    raise Refused(400, "Format error in JSON body: a condition that this test server lacks")


def _payload(body: Mapping[str, object], *, default: bool) -> "edge.WithPayloadType":
    wanted = body.get("with_payload", default)
    if isinstance(wanted, dict):
        if "include" in wanted:
            return edge.PayloadSelector.Include(_strings(wanted["include"]))
        return edge.PayloadSelector.Exclude(_strings(wanted.get("exclude")))
    return _strings(wanted) if isinstance(wanted, list) else bool(wanted)


def _record(point: edge.Record | edge.ScoredPoint) -> Json:
    shown: Json = {"id": _plain_id(point.id), "payload": point.payload}
    return shown if point.vector is None else shown | {"vector": point.vector}


def _id(given: object) -> _Id:
    try:
        if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
            return given
        return uuid.UUID(str(given))
    except ValueError:
        message = "is not a valid point ID, valid values are an unsigned integer or a UUID"
        raise Refused(400, f"Format error in JSON body: value {given} {message}") from None


def _plain_id(given: _Id) -> int | str:
    return given if isinstance(given, int) else str(given)


def _floats(given: object) -> list[float]:
    if not isinstance(given, list) or not all(isinstance(one, int | float) for one in given):
        raise Refused(400, "Format error in JSON body: not a vector")
    return cast("list[float]", given)


def _object(given: object) -> Json:
    if not isinstance(given, dict):
        raise Refused(400, "Format error in JSON body: not an object")
    return cast("Json", given)


def _list(given: object) -> list[object]:
    if not isinstance(given, list):
        raise Refused(400, "Format error in JSON body: not a list")
    return cast("list[object]", given)


def _strings(given: object) -> list[str]:
    return [str(one) for one in _list(given)]


def _int(given: object, default: int) -> int:
    if given is None:
        return default
    if not isinstance(given, int) or given < 0:
        raise Refused(400, "Format error in JSON body: not a number")
    return given
