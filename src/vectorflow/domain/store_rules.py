"""What every vector store accepts and refuses alike, so that records can move between stores."""

import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectorflow.domain.documents import canonical_json
from vectorflow.domain.records import Matrix, matrix_of
from vectorflow.errors import BadChunk, DimensionMismatch, InvalidInput

MAX_INDEX_NAME = 100

_INDEX_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*|-[A-Za-z0-9_.-]*")
_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z"
_NUL = r"\x00"
_JSON_NUL = r"(^|[^\\])(\\\\)*\\u0000"


def check_index_name(index: str, longest: int = MAX_INDEX_NAME) -> None:
    """Refuse names that are not safe as a file, a table or a part of a URL.

    Raises:
        InvalidInput: The name is refused as it stands; it is never changed.
    """
    if len(index) > longest or not _INDEX_NAME.fullmatch(index):
        raise InvalidInput(
            f"index name {index[:200]!r} is not allowed",
            fix=f"use at most {longest} of A-Z a-z 0-9 _ . -, the first neither _ nor .",
        )


def check_ids(ids: Sequence[str]) -> None:
    """Refuse ids that are not distinct UUIDs in their canonical form.

    Raises:
        InvalidInput: One is something else, or comes twice.
    """
    canonical = pc.match_substring_regex(pa.array(ids, pa.string()), _UUID)
    if not pc.all(canonical, min_count=0).as_py():
        raise InvalidInput("a record id is not a UUID in lower case")
    if len(set(ids)) != len(ids):
        raise InvalidInput("a record id comes twice in one write")


def distinct_ids(ids: Sequence[str]) -> list[str]:
    """Give each id once, for a delete or fetch.

    Raises:
        InvalidInput: One is not a UUID.
    """
    distinct = list(dict.fromkeys(ids))
    check_ids(distinct)
    return distinct


def check_records(index: str, records: pa.Table, dimensions: int) -> Matrix:
    """Refuse records that some store could not keep, and give their vectors.

    Raises:
        DimensionMismatch: The vectors have another length than the index.
        BadChunk: Of the row `position` of this write: a number is not finite, or there is a NUL
            character, which PostgreSQL has no room for.
        InvalidInput: An id is not a UUID, or comes twice.
    """
    got = records.schema.field("vector").type.list_size
    if got != dimensions:
        raise DimensionMismatch(index, held=dimensions, got=got)
    check_ids(strings_of(records["id"]))
    vectors = matrix_of(records["vector"], dimensions)
    finite = np.isfinite(vectors)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise BadChunk("a vector holds NaN or infinity", position=row)
    for column, nul in (("text", _NUL), ("document", _NUL), ("metadata", _JSON_NUL)):
        found = pc.match_substring_regex(records[column], nul)
        row = pc.index(found, pa.scalar(value=True)).as_py()
        if row >= 0:
            raise BadChunk(f"the {column} of a record holds a NUL character", position=row)
    return vectors


def strings_of(column: "pa.ChunkedArray[pa.StringScalar] | pa.Array[pa.StringScalar]") -> list[str]:
    """Turn an Arrow column that has no nulls into a list."""
    return [value for value in column.to_pylist() if value is not None]


def filter_terms(filter: Mapping[str, object]) -> list[str]:
    """Write a filter as terms, all of which a record must have; see `metadata_terms`.

    Raises:
        InvalidInput: A value is neither a string nor a number nor a boolean.
    """
    terms: list[str] = []
    for key, value in filter.items():
        if not isinstance(value, str | int | float):
            raise InvalidInput(f"filter {key!r} must be a string, a number or a boolean")
        terms.append(_term(key, value))
    return terms


def metadata_terms(metadata: str) -> list[str]:
    """Write the metadata's strings, numbers and booleans as `key=json`, equal where they are equal.

    Raises:
        InvalidInput: It is not a JSON object.
    """
    try:
        values = json.loads(metadata)
    except ValueError as error:
        raise InvalidInput("the metadata of a record is not JSON") from error
    if not isinstance(values, dict):
        raise InvalidInput("the metadata of a record is not a JSON object")
    return [
        _term(key, value) for key, value in values.items() if isinstance(value, str | int | float)
    ]


def _term(key: str, value: str | float) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{key}={canonical_json(value)}"
