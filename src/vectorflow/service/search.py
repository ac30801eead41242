"""Search: the nearest records that are live."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa

from vectorflow.domain.columns import strings
from vectorflow.domain.manifests import Part
from vectorflow.domain.records import Matrix
from vectorflow.ledger import reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import LiveDocument
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.vector_store import Query, VectorStore
from vectorflow.service.part_files import read_part

FETCHED_AT_MOST = 10_000
"""Hits asked of the store before a search gives up finding more live ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HitDocument:
    """Where a hit comes from."""

    id: int
    external_id: str
    uri: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HitChunk:
    """Which part of the document: characters `start` to `end` of its text."""

    position: int
    start: int
    end: int
    page: int | None
    headings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A found chunk."""

    score: float
    """Cosine: 1 is equal, higher is better."""
    text: str
    document: HitDocument
    chunk: HitChunk
    metadata: Mapping[str, object]
    record_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for, with the query embedded."""

    index: int
    """Row of the index in the ledger."""
    name: str
    vector: Matrix
    k: int
    filter: Mapping[str, object] = field(default_factory=dict[str, object])


class _Place(NamedTuple):
    """Where a record lies in a live manifest."""

    document: LiveDocument
    chunk: HitChunk


async def search(
    database: Database, blobs: BlobStore, store: VectorStore, wanted: Search
) -> list[Hit]:
    """Find the nearest live records, the best first.

    A hit counts if it is in the live manifest of its document: what is being indexed, was given up
    or waits to be deleted is passed over, and the store is asked again if that leaves too few.
    """
    asked = wanted.k * 2 + 10
    while True:
        query = Query(vector=wanted.vector, k=asked, filter=wanted.filter)
        found = await store.search(wanted.name, query)
        hits = await _live(database, blobs, wanted.index, found)
        if len(hits) >= wanted.k or len(found) < asked or asked >= FETCHED_AT_MOST:
            return hits[: wanted.k]
        asked *= 4


async def _live(database: Database, blobs: BlobStore, index: int, found: pa.Table) -> list[Hit]:
    rows: list[dict[str, Any]] = found.to_pylist()
    names = list({str(row["document"]) for row in rows})
    documents = await database.read(partial(reads.live_documents, index=index, external_ids=names))
    places = await _places(blobs, documents, {str(row["id"]) for row in rows})
    return [_hit(row, places[row["id"]]) for row in rows if row["id"] in places]


async def _places(
    blobs: BlobStore, documents: Sequence[LiveDocument], ids: set[str]
) -> dict[str, _Place]:
    """Find record ids in live manifests."""
    places: dict[str, _Place] = {}
    for document in documents:
        for part in document.parts:
            places |= await _places_in(blobs, document, part, ids)
    return places


async def _places_in(
    blobs: BlobStore, document: LiveDocument, part: Part, ids: set[str]
) -> dict[str, _Place]:
    columns = ["record_id", "position", "start", "end", "page", "headings"]
    table = await read_part(blobs, part, columns)
    wanted = [name in ids for name in strings(table, "record_id")]
    rows = table.filter(pa.array(wanted, pa.bool_())).to_pylist()
    return {str(row["record_id"]): _Place(document, _chunk(row)) for row in rows}


def _chunk(row: dict[str, Any]) -> HitChunk:
    headings = row["headings"]
    return HitChunk(
        position=row["position"],
        start=row["start"],
        end=row["end"],
        page=row["page"],
        headings=tuple(headings.split(" > ")) if headings else (),
    )


def _hit(row: dict[str, Any], place: _Place) -> Hit:
    document = place.document
    return Hit(
        score=float(row["score"]),
        text=row["text"],
        document=HitDocument(
            id=document.id,
            external_id=document.external_id,
            uri=document.uri,
            version=document.number,
        ),
        chunk=place.chunk,
        metadata=_metadata(row["metadata"]),
        record_id=row["id"],
    )


def _metadata(text: str) -> Mapping[str, object]:
    value: object = json.loads(text)
    return value if isinstance(value, dict) else {}
