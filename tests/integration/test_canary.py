"""The search for canaries finds them wherever and however they hide."""

import base64
import gzip
import json
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from sqlalchemy import text

from vectorflow.ledger import keys
from vectorflow.ledger.database import Database
from vectorflow.testing.canary import Found, find_canaries

CANARY = 'sk-canary/7f+3d?"ä"=1b'
OTHER = "another-canary-66"

FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "url": partial(quote, safe=""),
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
}


def found(
    *,
    database: Database | None = None,
    data_dir: Path | None = None,
    texts: dict[str, str | bytes] | None = None,
) -> list[tuple[str, str]]:
    """Form and place of what is found of `CANARY`; of `OTHER` nothing may be."""
    all_found = find_canaries(
        [CANARY, OTHER], database=database, data_dir=data_dir, texts=texts or {}
    )
    assert {one.canary for one in all_found} <= {CANARY}
    return [(one.form, one.place) for one in all_found]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_canary_is_found_in_a_text_in_every_form(form: str, as_bytes: bool) -> None:
    text = f"before {FORMS[form](CANARY)} after"

    assert found(texts={"log": text.encode() if as_bytes else text}) == [(form, "log")]


@pytest.mark.parametrize("change", [str.upper, str.lower])
@pytest.mark.parametrize("form", ["plain", "url", "hex"])
def test_capital_letters_hide_no_canary(form: str, change: Callable[[str], str]) -> None:
    text = change(FORMS[form](CANARY)).replace("Ä", "ä")  # letters of ASCII, that is

    assert found(texts={"log": text}) == [(form, "log")]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(3))
def test_a_canary_is_found_inside_of_what_was_encoded(
    encode: Callable[[bytes], bytes], before: int, after: int
) -> None:
    around = b"user:x"[:before] + CANARY.encode() + b"\xff\xff"[:after]

    assert found(texts={"log": b"Basic " + encode(around)}) == [("base64", "log")]


def test_what_is_clean_holds_none(ledger: Database, tmp_path: Path) -> None:
    ledger.write_now(partial(keys.issue_key, tenant="blue", name="laptop"))
    (tmp_path / "text").write_text(CANARY[:-1] + CANARY[1:])

    assert found(database=ledger, data_dir=tmp_path, texts={"log": "all is well"}) == []


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("api_keys", "name", CANARY),
        ("api_keys", "digest", f"x{base64.b64encode(CANARY.encode()).decode()}"),
        ("api_keys", "scopes", json.dumps([{"deep": [CANARY]}])),
    ],
)
def test_a_canary_in_a_row_of_the_ledger_is_found(
    ledger: Database, table: str, column: str, value: str
) -> None:
    ledger.write_now(partial(keys.issue_key, tenant="blue", name="laptop"))
    statement = text(f"UPDATE {table} SET {column} = :value")  # noqa: S608 - ours
    ledger.write_now(lambda connection: connection.execute(statement, {"value": value}))

    assert {place for _, place in found(database=ledger)} == {f"table {table}, column {column}"}


def test_a_table_that_nobody_listed_is_looked_into(ledger: Database) -> None:
    def make(statement: str) -> None:
        ledger.write_now(lambda connection: connection.exec_driver_sql(statement))

    table = ledger.engine.dialect.identifier_preparer.quote_identifier("new one")
    make(f"CREATE TABLE {table} (secret TEXT)")
    try:
        make(f"INSERT INTO {table} VALUES ('{CANARY}')")  # noqa: S608 - ours
        assert found(database=ledger) == [("plain", "table new one, column secret")]
    finally:
        make(f"DROP TABLE {table}")


def arrow(path: Path, compression: str | None, column: pa.Array) -> None:
    table = pa.table({"position": pa.array(range(len(column))), "text": column})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)


TEXTS = ["the same words again and again, " * 9, f"with a {CANARY} among them", None, "end"] * 40


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS).dictionary_encode(),
        pa.array([[text] for text in TEXTS]),
        pa.array([{"headings": text} for text in TEXTS]),
        pa.array([CANARY.encode()] * 3),
    ],
    ids=str,
)
def test_a_canary_in_an_arrow_file_is_found(
    tmp_path: Path, compression: str | None, column: pa.Array
) -> None:
    (tmp_path / "blobs" / "manifests").mkdir(parents=True)
    arrow(tmp_path / "blobs" / "manifests" / "part", compression, column)

    assert found(data_dir=tmp_path) == [("plain", "file blobs/manifests/part")]


def test_a_canary_in_the_metadata_of_an_arrow_file_is_found(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("text", pa.string())], {"from": f"https://x/{CANARY}"})
    with pa.ipc.new_file(tmp_path / "part", schema):
        pass

    assert found(data_dir=tmp_path) == [("plain", "file part")]


def packed(codec: str) -> bytes:
    data = f"{'words ' * 5_000}{CANARY}{' more' * 5_000}".encode()
    if codec == "gzip":
        return gzip.compress(data)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_a_canary_in_a_packed_file_is_found(tmp_path: Path, codec: str) -> None:
    (tmp_path / "packed").write_bytes(packed(codec))
    (tmp_path / "broken").write_bytes(packed(codec)[:10])

    assert found(data_dir=tmp_path) == [("plain", "file packed")]


def test_a_canary_in_the_name_of_a_file_or_folder_is_found(tmp_path: Path) -> None:
    name = quote(CANARY, safe="")
    (tmp_path / f"{name}-folder").mkdir()
    (tmp_path / f"{name}.txt").write_text("nothing")

    assert found(data_dir=tmp_path) == [
        ("url", f"file {name}-folder"),
        ("url", f"file {name}.txt"),
    ]


def test_a_row_that_was_deleted_is_still_found_in_the_file(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("PRAGMA secure_delete = OFF")  # some builds of SQLite overwrite
        connection.execute("CREATE TABLE t (value TEXT)")
        connection.execute("INSERT INTO t VALUES (?)", [CANARY])
    with connection:
        connection.execute("DELETE FROM t")
    connection.close()

    assert found(data_dir=tmp_path) == [("plain", "file ledger.db")]


def test_a_canary_in_a_table_of_lancedb_is_found(tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    place = tmp_path / "vectors"
    lancedb.connect(place).create_table("docs", pa.table({"metadata": TEXTS}))

    assert ("plain", "table docs.lance") in found(data_dir=tmp_path)


def test_each_place_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{CANARY} {CANARY}")

    everything = find_canaries(
        [CANARY, OTHER], database=None, data_dir=tmp_path, texts={"x": OTHER}
    )

    assert everything == [
        Found(canary=OTHER, form="plain", place="x"),
        Found(canary=CANARY, form="plain", place="file log"),
    ]


def test_a_folder_that_is_not_there_is_no_clean_one(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        found(data_dir=tmp_path / "nowhere")


def test_a_canary_that_may_stand_anywhere_by_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        find_canaries(["short"], database=None, data_dir=None, texts={})
