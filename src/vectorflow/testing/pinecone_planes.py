"""The data planes of the Pinecone emulator: routes of vectors and of documents."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import orjson
from aiohttp import web

from vectorflow.testing.pinecone_data import (
    MAX_IDS,
    MAX_RECORDS,
    MAX_RESULT,
    MAX_TOP_K,
    Index,
    Kind,
    Record,
    Refusal,
    check_id,
    check_metadata,
    check_vector,
    matching,
    named,
    ranked,
)

_Body: TypeAlias = dict[str, Any]
"""JSON of a client; the server turns the errors of another shape into a 400."""

_PAGE, _MAX_FETCH_PAGE = 100, 10_000


class _Faults(Protocol):
    delay: float
    lsn: bool
    refused: set[str]
    lost: set[str]


class Answer(web.Response):
    """An answer in JSON."""

    def __init__(
        self, body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(
            body=orjson.dumps(body),
            status=status,
            headers=headers,
            content_type="application/json",
        )


def data_routes(
    index_of: Callable[[web.Request], Index], faults: _Faults
) -> Iterable[web.RouteDef]:
    """Give the routes of both data planes."""
    plane = _Plane(index_of, faults)
    documents = "/namespaces/{namespace}/documents"
    return [
        web.post("/vectors/upsert", plane.upsert_vectors),
        web.get("/vectors/fetch", plane.fetch_vectors),
        web.post("/vectors/fetch_by_metadata", plane.fetch_by_metadata),
        web.get("/vectors/list", plane.list_vectors),
        web.post("/vectors/update", plane.update_vector),
        web.post("/vectors/delete", plane.delete_vectors),
        web.post("/query", plane.query),
        web.post("/describe_index_stats", plane.stats),
        web.get("/namespaces/{namespace}", plane.describe_namespace),
        web.delete("/namespaces/{namespace}", plane.delete_namespace),
        web.post(documents + "/upsert", plane.upsert_documents),
        web.post(documents + "/search", plane.search),
        web.post(documents + "/fetch", plane.fetch_documents),
        web.post(documents + "/list", plane.list_documents),
        web.post(documents + "/delete", plane.delete_documents),
    ]


class _Plane:
    def __init__(self, index_of: Callable[[web.Request], Index], faults: _Faults) -> None:
        self._index_of = index_of
        self._faults = faults

    async def upsert_vectors(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "vectors")
        count = self._upsert(
            index,
            body.get("namespace", ""),
            [(one["id"], one["values"], one.get("metadata") or {}) for one in body["vectors"]],
        )
        return self._written(index, body.get("namespace", ""), {"upsertedCount": count})

    async def upsert_documents(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "documents")
        namespace, vector = request.match_info["namespace"], index.vector_field
        given = []
        for one in body["documents"]:
            rest = {key: value for key, value in one.items() if key not in {"_id", vector}}
            if vector not in one:
                raise Refusal(400, f"document needs its field {vector!r}")
            if any(key.startswith("_") for key in rest):
                raise Refusal(400, "names of fields must not start with '_'")
            given.append((one["_id"], one[vector], rest))
        return self._written(
            index, namespace, {"upserted_count": self._upsert(index, namespace, given)}, status=202
        )

    def _upsert(
        self, index: Index, namespace: str, given: list[tuple[str, object, dict[str, object]]]
    ) -> int:
        if not 1 <= len(given) <= MAX_RECORDS:
            raise Refusal(400, f"an upsert takes 1 to {MAX_RECORDS} records, not {len(given)}")
        if self._faults.refused.intersection(one[0] for one in given):
            raise Refusal(400, "a record was refused")
        records = [
            Record(
                id=check_id(name),
                values=check_vector(values, index.dimension),
                metadata=check_metadata(metadata),
            )
            for name, values, metadata in given
        ]
        kept = {record.id: record for record in records if record.id not in self._faults.lost}
        index.namespace(namespace).write(lambda held: held.update(kept), self._faults.delay)
        return len(kept)

    async def fetch_vectors(self, request: web.Request) -> web.Response:
        index, ids = self._index(request, "vectors"), request.query.getall("ids", [])
        namespace = request.query.get("namespace", "")
        found = _found(index.seen(namespace), ids)
        return self._read(index, namespace, {"vectors": {one.id: _vector(one) for one in found}})

    async def fetch_by_metadata(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "vectors")
        namespace = body.get("namespace", "")
        if not body.get("filter"):
            raise Refusal(400, "Empty filter provided for fetch by metadata request")
        found = matching(index.seen(namespace), body["filter"])
        page, following = _page(found, body.get("paginationToken"), body.get("limit"))
        vectors = {one.id: _vector(one) for one in page}
        return self._read(index, namespace, {"vectors": vectors} | following)

    async def fetch_documents(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "documents")
        namespace, names = request.match_info["namespace"], body.get("include_fields")
        following: dict[str, object] = {}
        if ids := body.get("ids"):
            page = _found(index.seen(namespace), ids)
        else:
            found = matching(index.seen(namespace), body["filter"])
            page, following = _page(found, body.get("pagination_token"), body.get("limit"))
        documents = {one.id: _document(index, one, names) for one in page}
        return self._read(
            index, namespace, {"documents": documents, "usage": {"read_units": 1}} | following
        )

    async def list_vectors(self, request: web.Request) -> web.Response:
        index, query = self._index(request, "vectors"), request.query
        namespace = query.get("namespace", "")
        page, following = _listed(
            index, namespace, query.get("prefix", ""), query.get("paginationToken")
        )
        return self._read(
            index, namespace, {"vectors": [{"id": one.id} for one in page]} | following
        )

    async def list_documents(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "documents")
        namespace = request.match_info["namespace"]
        page, following = _listed(
            index, namespace, body.get("prefix") or "", body.get("pagination_token")
        )
        listed = {"documents": [{"_id": one.id} for one in page], "usage": {"read_units": 1}}
        return self._read(index, namespace, listed | following)

    async def update_vector(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "vectors")
        namespace, changes = body.get("namespace", ""), check_metadata(body.get("setMetadata", {}))

        def change(held: dict[str, Record]) -> None:
            if record := held.get(body["id"]):
                metadata = record.metadata | changes
                held[record.id] = Record(id=record.id, values=record.values, metadata=metadata)

        index.namespace(namespace).write(change, self._faults.delay)
        return self._written(index, namespace, {})

    async def delete_vectors(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "vectors")
        self._delete(index, body.get("namespace", ""), body, "deleteAll")
        return self._written(index, body.get("namespace", ""), {})

    async def delete_documents(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "documents")
        namespace = request.match_info["namespace"]
        self._delete(index, namespace, body, "delete_all")
        return self._written(index, namespace, {}, status=202)

    def _delete(self, index: Index, namespace: str, body: Mapping[str, object], all: str) -> None:
        ids, wanted = body.get("ids"), body.get("filter")
        if sum(map(bool, (ids, wanted, body.get(all)))) != 1:
            raise Refusal(400, "a delete takes exactly one of ids, filter and all")
        if named(namespace) not in index.namespaces:
            raise Refusal(404, "Namespace not found")
        if isinstance(ids, list) and len(ids) > MAX_IDS:
            raise Refusal(400, f"a delete takes {MAX_IDS} ids at most")

        def change(held: dict[str, Record]) -> None:
            gone = _found(held, ids) if isinstance(ids, list) else matching(held, wanted)
            for record in gone:
                del held[record.id]

        index.namespace(namespace).write(change, self._faults.delay)

    async def query(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "vectors")
        namespace = body.get("namespace", "")
        if "id" in body:
            known = index.seen(namespace).get(body["id"])
            vector = known.values.tolist() if known else None
        else:
            vector = body["vector"]
        matches = []
        for record, score in self._ranked(index, namespace, vector, body, body["topK"]):
            match = _vector(record) | {"score": score}
            if not body.get("includeValues"):
                match["values"] = []
            if not body.get("includeMetadata"):
                del match["metadata"]
            matches.append(match)
        return self._read(index, namespace, {"matches": matches})

    async def search(self, request: web.Request) -> web.Response:
        index, body = await self._body(request, "documents")
        namespace, (clause,) = request.match_info["namespace"], body["score_by"]
        if clause["type"] != "dense_vector" or clause["field"] != index.vector_field:
            raise Refusal(400, "the emulator scores by the dense vector only")
        names = body.get("include_fields") or []
        matches = [
            _document(index, record, names) | {"_score": score}
            for record, score in self._ranked(
                index, namespace, clause["values"], body, body["top_k"]
            )
        ]
        return self._read(index, namespace, {"matches": matches, "usage": {"read_units": 1}})

    def _ranked(
        self,
        index: Index,
        namespace: str,
        vector: object,
        body: _Body,
        top_k: int,
    ) -> Iterable[tuple[Record, float]]:
        if not 1 <= top_k <= MAX_TOP_K:
            raise Refusal(400, f"top_k must be between 1 and {MAX_TOP_K}")
        if vector is None:
            return ()
        wanted = check_vector(vector, index.dimension)
        found = matching(index.seen(namespace), body.get("filter"))
        return ranked(found, wanted, index.metric, top_k)

    async def stats(self, request: web.Request) -> web.Response:
        index = self._index_of(request)
        counts = {name: len(held.read()) for name, held in index.namespaces.items()}
        return Answer(
            {
                "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
                "dimension": index.dimension,
                "indexFullness": 0,
                "totalVectorCount": sum(counts.values()),
                "metric": index.metric,
                "vectorType": "dense",
            }
        )

    async def describe_namespace(self, request: web.Request) -> web.Response:
        index, name = self._index_of(request), named(request.match_info["namespace"])
        if name not in index.namespaces:
            raise Refusal(404, "Namespace not found")
        return Answer({"name": name, "record_count": str(len(index.seen(name)))})

    async def delete_namespace(self, request: web.Request) -> web.Response:
        index = self._index_of(request)
        if index.namespaces.pop(named(request.match_info["namespace"]), None) is None:
            raise Refusal(404, "Namespace not found")
        return Answer({})

    def _index(self, request: web.Request, kind: Kind) -> Index:
        index = self._index_of(request)
        if index.kind != kind:
            raise Refusal(400, f"this index takes {index.kind}, not {kind}")
        return index

    async def _body(self, request: web.Request, kind: Kind) -> tuple[Index, _Body]:
        index = self._index(request, kind)
        return index, orjson.loads(await request.read())

    def _written(
        self, index: Index, namespace: str, body: object, *, status: int = 200
    ) -> web.Response:
        number = index.namespace(namespace).committed
        headers = {"x-pinecone-request-lsn": str(number)} if self._faults.lsn else {}
        return Answer(body, status=status, headers=headers)

    def _read(self, index: Index, namespace: str, body: dict[str, object]) -> web.Response:
        held = index.namespaces.get(named(namespace))
        number = held.indexed if held else 0
        headers = {"x-pinecone-max-indexed-lsn": str(number)} if self._faults.lsn else {}
        answer = Answer(body | {"namespace": named(namespace)}, headers=headers)
        if answer.content_length and answer.content_length > MAX_RESULT and "matches" in body:
            raise Refusal(400, "the result is larger than 4 MB; ask for fewer")
        return answer


def _found(records: Mapping[str, Record], ids: Iterable[str]) -> list[Record]:
    wanted = list(dict.fromkeys(map(check_id, ids)))
    if not 1 <= len(wanted) <= MAX_IDS:
        raise Refusal(400, f"1 to {MAX_IDS} ids in one request")
    return [records[name] for name in wanted if name in records]


def _listed(
    index: Index, namespace: str, prefix: str, token: str | None
) -> tuple[list[Record], dict[str, object]]:
    seen = index.seen(namespace)
    return _page([one for one in seen.values() if one.id.startswith(prefix)], token, _PAGE)


def _page(
    records: list[Record], token: str | None, limit: int | None
) -> tuple[list[Record], dict[str, object]]:
    """Give the records after the token, in the order of ids, and the token of the next page."""
    size = min(limit or _PAGE, _MAX_FETCH_PAGE)
    rest = sorted((one for one in records if one.id > (token or "")), key=lambda one: one.id)
    if len(rest) <= size:
        return rest, {}
    return rest[:size], {"pagination": {"next": rest[size - 1].id}}


def _vector(record: Record) -> dict[str, object]:
    return {"id": record.id, "values": record.values.tolist(), "metadata": record.metadata}


def _document(index: Index, record: Record, names: list[str] | None) -> dict[str, object]:
    """Write a document with the fields asked for; None asks for all."""
    fields: dict[str, object] = dict(record.metadata)
    fields[index.vector_field] = record.values.tolist()
    if names is not None and "*" not in names:
        fields = {name: fields[name] for name in names if name in fields}
    return {"_id": record.id, **fields}
