import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectorflow.domain.records import vector_column
from vectorflow.service.vector_formats import (
    ARROW_FILE,
    ARROW_STREAM,
    FILES,
    GROUP_BYTES,
    NDJSON,
    PARQUET,
    STREAMS,
    Format,
)
from vectorflow.service.vectors import export_schema

DIMENSIONS = 3
SCHEMA = export_schema(DIMENSIONS)
ODD = [0.1, -1 / 3, 1e-30, 3.4e38, 0.0, 1.0]


def table(rows: int, first: int = 0) -> pa.Table:
    numbers = range(first, first + rows)
    vectors = np.array([[ODD[(n + m) % 6] for m in range(3)] for n in numbers], dtype=np.float32)
    columns = {
        "id": [f"id-{n}" for n in numbers],
        "document": ["Grüße/世界.md"] * rows,
        "position": list(numbers),
        "start": [n * (1 << 33) for n in numbers],
        "end": [n * (1 << 33) + 1 for n in numbers],
        "page": [n if n % 2 else None for n in numbers],
        "headings": [["A", "B > C"] if n % 2 else [] for n in numbers],
        "text": [f'"{n}"\n\u2028\\ 🕯' for n in numbers],
        "metadata": ['{"team":"hr","n":[1,{"ü":null}]}'] * rows,
        "vector": vector_column(vectors.reshape(-1, DIMENSIONS)),
    }
    return pa.table(columns, schema=SCHEMA)


def written(form: Format, *tables: pa.Table) -> list[bytes]:
    encoder = form.encoder(SCHEMA)
    return [*(encoder.write(some) for some in tables), encoder.end()]


def read(form: Format, data: bytes) -> pa.Table:
    if form is PARQUET:
        return pq.read_table(io.BytesIO(data))
    return (pa.ipc.open_file if form is ARROW_FILE else pa.ipc.open_stream)(data).read_all()


@pytest.mark.parametrize("form", [ARROW_STREAM, ARROW_FILE, PARQUET], ids=lambda form: form.name)
def test_columnar_formats_read_back_as_they_were(form: Format) -> None:
    data = b"".join(written(form, table(5), SCHEMA.empty_table(), table(2, first=5)))

    assert read(form, data).equals(table(7))
    assert read(form, b"".join(written(form))).equals(SCHEMA.empty_table())


def test_lines_read_back_as_they_were_to_the_last_bit_of_a_vector() -> None:
    data = b"".join(written(NDJSON, table(5), SCHEMA.empty_table(), table(2, first=5)))

    rows = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    expected = table(7).to_pylist()
    vectors = np.array([row["vector"] for row in rows], dtype=np.float32)
    assert (vectors == np.array([row["vector"] for row in expected], dtype=np.float32)).all()
    for row, other in zip(rows, expected, strict=True):
        assert row["metadata"] == json.loads(str(other["metadata"]))
        same = [name for name in SCHEMA.names if name not in {"metadata", "vector"}]
        assert {name: row[name] for name in same} == {name: other[name] for name in same}


@pytest.mark.parametrize("form", [ARROW_FILE, PARQUET], ids=lambda form: form.name)
def test_a_file_without_its_end_is_refused_by_readers(form: Format) -> None:
    *begun, _end = written(form, table(5))

    with pytest.raises(pa.ArrowInvalid):
        read(form, b"".join(begun))


def test_a_stream_is_given_as_it_comes() -> None:
    for form in (NDJSON, ARROW_STREAM):
        assert all(written(form, table(1), table(1))[:2])


def test_a_row_group_gathers_small_tables() -> None:
    wide = export_schema(1024)
    encoder = PARQUET.encoder(wide)
    rows = GROUP_BYTES // 4096 // 2
    vectors = np.zeros((rows, 1024), dtype=np.float32)
    some = table(rows).drop_columns(["vector"]).append_column("vector", vector_column(vectors))
    parts = [encoder.write(some.cast(wide)) for _ in range(4)]

    data = b"".join([*parts, encoder.end()])

    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 2


def test_every_format_has_a_name_of_its_own() -> None:
    assert len({form.name for form in STREAMS}) == len({form.media_type for form in STREAMS}) == 3
    assert [suffix for form in FILES for suffix in form.suffixes] == [
        ".ndjson",
        ".jsonl",
        ".arrow",
        ".parquet",
    ]
