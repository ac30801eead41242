"""Records as Pinecone keeps them: a vector and flat metadata of 40 KB at most.

source_text, source_document    what clients of the v0 API read
KEY                             the user's metadata, as far as Pinecone can keep it
vf_version                      the version in which the record first appeared
vf_index                        incarnation of its index; with `:zero` after it, a zero vector,
                                which Pinecone refuses: it has another in its place
vf_terms                        metadata as terms, for filters; long ones as digests
vf_metadata                     the exact metadata: in an index of vectors only where the flat
                                one lost something, in one of documents always, as a search
                                there names the fields that it wants
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
import pyarrow as pa

from vectorflow.domain.documents import canonical_json
from vectorflow.domain.records import Matrix, record_schema, vector_column
from vectorflow.domain.store_rules import metadata_terms, strings_of
from vectorflow.errors import BadChunk

TEXT, DOCUMENT = "source_text", "source_document"
VERSION, INDEX, TERMS, METADATA = "vf_version", "vf_index", "vf_terms", "vf_metadata"
MAX_METADATA = 40 * 1024
_OURS = frozenset({TEXT, DOCUMENT})
_RESERVED = ("_", "$", "vf_")  # the first two are Pinecone's
_ZERO = ":zero"
_MAX_TERM = 100
_MAX_INTEGER = 2**53  # numbers are kept as float64
_AROUND = 64  # bytes around the parts of a record in a request
_MAX_BYTES, _MAX_RECORDS = 1_800_000, 1_000
_ANY = ""
_TYPES: Mapping[str, tuple[type, ...]] = {
    _ANY: (str, bool, int, float, list),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "float": (int, float),
    "string_list": (list,),
}
"""What a field may hold, by its type in the schema; vectors are not for metadata."""

Fields = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What an index asks of metadata."""

    declared: Mapping[str, str] = field(default_factory=dict[str, str])
    """Types of the fields in its schema."""
    exact: bool = False
    """Whether to keep the exact metadata always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A record to write."""

    row: int
    """Of the write that it is in."""
    id: str
    vector: bytes
    """As JSON, in the fewest digits that give the same float32."""
    fields: Fields
    size: int
    """Bytes it takes in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A record that was read."""

    id: str
    vector: Sequence[float]
    """Empty in what a search found."""
    fields: Mapping[str, object]
    score: float = math.nan


def vector_json(vector: Matrix) -> bytes:
    """Write a vector as JSON: 12 bytes a number and not 20, which Pinecone's limits count."""
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)


def unit_rows(vectors: Matrix, metric: str) -> Matrix:
    """Make lengths 1 where an index ranks by dot product, so that it ranks by cosine."""
    if metric == "cosine":
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def unit_vector(dimensions: int) -> Matrix:
    """Give a vector for what has none: Pinecone refuses zeros."""
    vector = np.zeros(dimensions, dtype=np.float32)
    vector[0] = 1
    return vector


def written_records(
    records: pa.Table, vectors: Matrix, incarnation: str, layout: Layout
) -> list[Written]:
    """Turn a table into records to write."""
    columns = [strings_of(records[name]) for name in ("id", "text", "document", "metadata")]
    versions = records["version"].to_pylist()
    flat = {text: _flat(text, layout) for text in set(columns[3])}
    zeros = (vectors == 0).all(axis=1).tolist()
    written: list[Written] = []
    for row, (record, text, document, metadata) in enumerate(zip(*columns, strict=True)):
        zero = zeros[row]
        fields = flat[metadata] | {TEXT: text, DOCUMENT: document, VERSION: versions[row]}
        fields[INDEX] = incarnation + _ZERO if zero else incarnation
        vector = vector_json(unit_vector(vectors.shape[1]) if zero else vectors[row])
        size = len(vector) + len(orjson.dumps(fields)) + _AROUND
        written.append(Written(row=row, id=record, vector=vector, fields=fields, size=size))
    return written


def too_large(record: Written) -> BadChunk | None:
    """Say what is wrong with a record that Pinecone would refuse for its size."""
    size = record.size - len(record.vector) - _AROUND
    if size <= MAX_METADATA:
        return None
    return BadChunk(
        f"text and metadata of a record take {size:,} bytes; Pinecone keeps {MAX_METADATA:,}",
        position=record.row,
        fix="ask for smaller chunks or less metadata",
    )


def packed(records: Sequence[Written]) -> Iterator[list[Written]]:
    """Split records into requests that Pinecone takes."""
    part: list[Written] = []
    room = _MAX_BYTES
    for record in records:
        if part and (record.size > room or len(part) == _MAX_RECORDS):
            yield part
            part, room = [], _MAX_BYTES
        part.append(record)
        room -= record.size
    if part:
        yield part


def of_index(incarnation: str) -> Fields:
    """Filter for all records of an index."""
    return {INDEX: {"$in": [incarnation, incarnation + _ZERO]}}


def of_other_incarnations(incarnation: str) -> Fields:
    """Filter for what is left of an index that was marked anew; foreign records stay out of it."""
    ours, others = {INDEX: {"$exists": True}}, {INDEX: {"$nin": [incarnation, incarnation + _ZERO]}}
    return {"$and": [ours, others]}


def searchable(incarnation: str, terms: Sequence[str]) -> Fields:
    """Filter for the records of an index that have all these terms."""
    wanted: list[Fields] = [{INDEX: {"$eq": incarnation}}]
    for term in terms:
        wanted.append({TERMS: {"$in": [_short(term)]}})  # noqa: PERF401 - a list of another type
    return {"$and": wanted} if len(wanted) > 1 else wanted[0]


def fetched_table(found: Sequence[Read], incarnation: str, dimensions: int) -> pa.Table:
    """Make a table of those records that are ours."""
    ours = [read for read in found if _is_of(read, incarnation)]
    schema = record_schema(dimensions)
    if not ours:
        return schema.empty_table()
    vectors = np.asarray([read.vector for read in ours], dtype=np.float32)
    vectors[[read.fields[INDEX] != incarnation for read in ours]] = 0
    columns = _columns(ours)
    return pa.table([columns[0], vector_column(vectors), *columns[1:]], schema=schema)


def found_table(found: Sequence[Read]) -> pa.Table:
    """Make a table of what a search found."""
    schema = record_schema(1).remove(1).append(pa.field("score", pa.float64()))
    return pa.table([*_columns(found), [read.score for read in found]], schema=schema)


def is_written(read: Read, record: Written) -> bool:
    """Whether what was read is what was written."""
    return all(read.fields.get(key) == record.fields[key] for key in (TEXT, VERSION, INDEX))


def _is_of(read: Read, incarnation: str) -> bool:
    return read.fields.get(INDEX) in {incarnation, incarnation + _ZERO}


def _columns(found: Sequence[Read]) -> list[list[object]]:
    return [
        [read.id for read in found],
        *([read.fields[name] for read in found] for name in (TEXT, DOCUMENT)),
        [_whole(read.fields[VERSION]) for read in found],
        [_restored(read.fields) for read in found],
    ]


def _flat(metadata: str, layout: Layout) -> Fields:
    """Lay out the metadata that all chunks of a document share."""
    terms = [_short(term) for term in metadata_terms(metadata)]
    values: Fields = json.loads(metadata)
    fields = {key: value for key, value in values.items() if _is_flat(key, value, layout)}
    lossy = _restored(fields) != metadata
    if terms:
        fields[TERMS] = terms
    if lossy or (layout.exact and values):
        fields[METADATA] = metadata
    return fields


def _is_flat(key: str, value: object, layout: Layout) -> bool:
    if not key or key.startswith(_RESERVED) or key in _OURS:
        return False
    kinds = _TYPES.get(layout.declared.get(key, _ANY), ())
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) <= _MAX_INTEGER
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return True


def _restored(fields: Mapping[str, object]) -> str:
    if METADATA in fields:
        return str(fields[METADATA])
    values = {
        key: _whole(value)
        for key, value in fields.items()
        if key not in _OURS and not key.startswith(_RESERVED)
    }
    return canonical_json(values)


def _whole(value: object) -> object:
    """Undo that Pinecone makes a float of every number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short(term: str) -> str:
    """Give the term, or of a long one its digest: it would count twice against the 40 KB."""
    if len(term) <= _MAX_TERM:
        return term
    return "#" + hashlib.blake2b(term.encode(), digest_size=16).hexdigest()
