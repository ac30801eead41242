"""Formats of exported records: bytes as tables come in, and what ends the whole."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import orjson
import pyarrow as pa

from vectorflow.domain.records import Matrix, matrix_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer  # exists for type checkers only

GROUP_BYTES = 16 << 20
"""Of one row group of a Parquet file, at least."""


class Encoder(Protocol):
    """Writes tables of one schema; what it gives, joined, is the file."""

    def write(self, table: pa.Table) -> bytes:
        """Give what is ready by now; maybe nothing."""
        ...

    def end(self) -> bytes:
        """Give the rest; without it the file is not whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A way to write records down."""

    name: str
    media_type: str
    suffixes: tuple[str, ...]
    """Of file names; none where it is not for files."""
    encoder: Callable[[pa.Schema], Encoder]


class _NdJson:
    """A JSON object a line; vectors with the fewest digits that give the same float32."""

    def __init__(self, schema: pa.Schema) -> None:
        self._dimensions = schema.field("vector").type.list_size

    def write(self, table: pa.Table) -> bytes:
        vectors: Matrix = matrix_of(table["vector"], self._dimensions)
        rows = table.drop_columns(["vector"]).to_pylist()
        return b"".join(map(_line, rows, vectors))

    def end(self) -> bytes:
        return b""


def _line(row: dict[str, object], vector: Matrix) -> bytes:
    metadata = orjson.Fragment(str(row["metadata"]))
    return orjson.dumps(
        row | {"metadata": metadata, "vector": vector},
        option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE,
    )


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer", /) -> int:
        self._written.append(bytes(data))
        return len(self._written[-1])

    def take(self) -> bytes:
        taken = b"".join(self._written)
        self._written = []
        return taken


class _Arrow:
    """Arrow IPC, a batch for each table: a stream, or a file, which has a footer."""

    def __init__(self, schema: pa.Schema, *, is_file: bool) -> None:
        self._sink = _Sink()
        new = pa.ipc.new_file if is_file else pa.ipc.new_stream
        self._writer = new(pa.PythonFile(_as_io(self._sink)), schema)

    def write(self, table: pa.Table) -> bytes:
        self._writer.write_table(table)
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


class _Parquet:
    """A Parquet file. Its footer comes last; without it no reader takes the file."""

    def __init__(self, schema: pa.Schema) -> None:
        from pyarrow.parquet import ParquetWriter  # noqa: PLC0415 - 40 ms that others need not wait

        self._sink = _Sink()
        self._writer = ParquetWriter(
            pa.PythonFile(_as_io(self._sink)),
            schema,
            compression="zstd",
            use_dictionary=False,  # of texts and vectors it would only cost time
        )
        self._waiting: list[pa.Table] = []

    def write(self, table: pa.Table) -> bytes:
        self._waiting.append(table)
        if sum(waiting.nbytes for waiting in self._waiting) >= GROUP_BYTES:
            self._write_group()
        return self._sink.take()

    def end(self) -> bytes:
        self._write_group()
        self._writer.close()
        return self._sink.take()

    def _write_group(self) -> None:
        if rows := sum(len(table) for table in self._waiting):
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=rows)
        self._waiting = []


NDJSON = Format(
    name="ndjson",
    media_type="application/x-ndjson",
    suffixes=(".ndjson", ".jsonl"),
    encoder=_NdJson,
)
ARROW_STREAM = Format(
    name="arrow",
    media_type="application/vnd.apache.arrow.stream",
    suffixes=(),
    encoder=partial(_Arrow, is_file=False),
)
ARROW_FILE = Format(
    name="arrow",
    media_type="application/vnd.apache.arrow.file",
    suffixes=(".arrow",),
    encoder=partial(_Arrow, is_file=True),
)
PARQUET = Format(
    name="parquet",
    media_type="application/vnd.apache.parquet",
    suffixes=(".parquet",),
    encoder=_Parquet,
)
STREAMS = (NDJSON, ARROW_STREAM, PARQUET)
FILES = (NDJSON, ARROW_FILE, PARQUET)


def _as_io(sink: _Sink) -> io.IOBase:
    """Arrow's annotations name the class."""
    return cast("io.IOBase", sink)
