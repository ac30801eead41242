"""Finds strings that nothing may keep or tell: for tests that send a secret and look where it went.

A canary is a made-up secret, so long and odd that it stands nowhere by chance.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pyarrow as pa

from vectorflow.ledger.database import Database

SHORTEST = 8
"""Characters of a canary; fewer may stand somewhere by chance."""

_COMPRESSIONS: Mapping[bytes, Literal["zstd", "gzip"]] = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x8b": "gzip",
}
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
    "mariadb": "SHOW TABLES",
}
"""By the name of SQLAlchemy's dialect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A canary that got out."""

    canary: str
    form: str
    """`plain`, `json`, `url`, `hex` or `base64`."""
    place: str
    """Table and column, file, or the name of the text."""


def find_canaries(
    canaries: Iterable[str],
    *,
    database: Database | None,
    data_dir: Path | None,
    texts: Mapping[str, str | bytes],
) -> list[Found]:
    """Look for canaries in every row of the ledger, every file of a folder and in given texts.

    Files are read as they are and, if they are Arrow, zstd, gzip or a table of LanceDB, also as
    what they hold; keep the folder small. Texts are logs, output, messages or answers, by the name
    that they are reported under.
    """
    needles = [needle for canary in canaries for needle in _forms(canary)]
    found = [
        Found(canary=canary, form=form, place=place)
        for place, data in _haystacks(database, data_dir, texts)
        for canary, form in _stuck_in(data, needles)
    ]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needle:
    canary: str
    form: str
    data: bytes
    exact: bool
    """Capital letters count."""


def _forms(canary: str) -> Iterator[_Needle]:
    if len(canary) < SHORTEST:
        raise ValueError(f"a canary has at least {SHORTEST} characters")
    plain = canary.encode()
    folded = {  # a later form that looks like an earlier one is that one
        quote(canary, safe="").encode(): "url",
        json.dumps(canary)[1:-1].encode(): "json",
        json.dumps(canary, ensure_ascii=False)[1:-1].encode(): "json",
        plain.hex().encode(): "hex",
        plain: "plain",
    }
    for data, form in folded.items():
        yield _Needle(canary=canary, form=form, data=data.lower(), exact=False)
    for data in _in_base64(plain):
        yield _Needle(canary=canary, form="base64", data=data, exact=True)


def _in_base64(plain: bytes) -> Iterator[bytes]:
    """Give what stays the same in base64, whatever stands before and after; in both alphabets."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + plain)
        sure = whole[-(-before * 8 // 6) : (before + len(plain)) * 8 // 6]
        yield sure
        yield sure.translate(bytes.maketrans(b"+/", b"-_"))


def _stuck_in(data: bytes, needles: Iterable[_Needle]) -> Iterator[tuple[str, str]]:
    folded = data.lower()
    for needle in needles:
        if needle.data in (data if needle.exact else folded):
            yield needle.canary, needle.form


def _haystacks(
    database: Database | None, data_dir: Path | None, texts: Mapping[str, str | bytes]
) -> Iterator[tuple[str, bytes]]:
    for name, text in texts.items():
        yield name, _bytes_of(text)
    if database is not None:
        yield from _rows(database)
    if data_dir is not None:
        if not data_dir.is_dir():
            raise NotADirectoryError(data_dir)
        yield from _files(data_dir)
        yield from _lance_tables(data_dir)


def _rows(database: Database) -> Iterator[tuple[str, bytes]]:
    dialect = database.engine.dialect
    tables = {name for row in _query(database, _TABLES[dialect.name]) for name in row.values()}
    for table in sorted(map(str, tables)):
        quoted = dialect.identifier_preparer.quote_identifier(table)
        for row in _query(database, f"SELECT * FROM {quoted}"):  # noqa: S608 - of the catalogue
            for column, value in row.items():
                yield f"table {table}, column {column}", _bytes_of(value)


def _query(database: Database, query: str) -> list[dict[str, object]]:
    return database.read_now(
        lambda connection: [
            {str(column): value for column, value in row.items()}
            for row in connection.exec_driver_sql(query).mappings()
        ]
    )


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        place = f"file {path.relative_to(folder)}"
        yield place, path.name.encode()
        if path.is_file():
            with suppress(FileNotFoundError):  # a running server may clear up meanwhile
                data = path.read_bytes()
                yield place, data
                yield from ((place, inside) for inside in _unpacked(data))


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Give what is inside, as far as it can be read."""
    with suppress(pa.ArrowInvalid, OSError):
        yield from _table_bytes(pa.ipc.open_file(pa.BufferReader(data)).read_all())
    for magic, codec in _COMPRESSIONS.items():
        if data.startswith(magic):
            packed = pa.CompressedInputStream(pa.BufferReader(data), codec)
            with suppress(OSError), packed:
                yield packed.read()


def _table_bytes(table: pa.Table) -> Iterator[bytes]:
    """Give the buffers of a table: each text of a column stands whole in one of them."""
    yield repr((table.schema.names, table.schema.metadata)).encode()
    for column in table.columns:
        for chunk in column.chunks:
            plain = chunk.dictionary_decode() if isinstance(chunk, pa.DictionaryArray) else chunk
            yield from (buffer.to_pybytes() for buffer in plain.buffers() if buffer is not None)


def _lance_tables(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give the newest version of each table; LanceDB packs texts in ways of its own."""
    if find_spec("lancedb") is None:
        return
    import lancedb  # noqa: PLC0415 - optional

    for path in sorted(folder.rglob("*.lance")):
        if path.is_dir():
            table = lancedb.connect(path.parent).open_table(path.stem).to_arrow()
            yield from ((f"table {path.name}", data) for data in _table_bytes(table))


def _bytes_of(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.encode(errors="replace")
