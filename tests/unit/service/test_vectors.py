"""Exports, on a real ledger, real blobs and a store in memory."""

import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import update

from tests.exporting import (
    DIMENSIONS,
    embed,
    index_rows,
    is_exact,
    job_rows,
    long_text,
    of_job,
    opened,
    origin_of,
    rows_of,
)
from vectorflow.domain.documents import content_hash
from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import Conflict, NotFound
from vectorflow.flow.engine import Engine
from vectorflow.ledger.tables import batches
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service.part_files import write_vectors
from vectorflow.service.vector_files import VectorFiles
from vectorflow.service.vectors import Origin, export_index

ROWS = 1024
"""Of one table at most."""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with opened(tmp_path) as engine:
        yield engine


@dataclass
class Watched:
    """A store whose reads are watched."""

    store: VectorStore
    asked: list[Sequence[str]] = field(default_factory=list)

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        self.asked.append(ids)
        return await self.store.fetch(index, ids)


async def watched_origin(engine: Engine) -> tuple[Origin, Watched]:
    watched = Watched(await engine.parts.store(engine.parts.store_locator()))

    async def store() -> Watched:
        return watched

    return replace(await origin_of(engine), store=store), watched  # type: ignore[arg-type]


async def unreachable() -> VectorStore:
    raise AssertionError("the store was asked")


async def test_a_row_has_all_that_is_known_of_a_record(engine: Engine) -> None:
    text = "# Öl\n\nVierzig Liter.\n\n## 灯\n\nTrim the wick 🕯."
    report = await embed(engine, {"Grüße/世界.md": text}, team="hr")

    rows = await job_rows(engine, report.job_id)

    assert await is_exact(engine, rows)
    assert [row["position"] for row in rows] == list(range(len(rows)))
    assert {row["document"] for row in rows} == {"Grüße/世界.md"}
    assert all(text[row["start"] : row["end"]] == row["text"] for row in rows)  # type: ignore[misc]
    assert [row["headings"] for row in rows] == [["Öl"], ["Öl", "灯"]]
    assert {row["page"] for row in rows} == {None}
    assert all(json.loads(str(row["metadata"])) == {"team": "hr"} for row in rows)
    assert len({uuid.UUID(str(row["id"])) for row in rows}) == len(rows)


async def test_a_long_document_comes_in_bounded_tables_and_reads_of_the_store(
    engine: Engine,
) -> None:
    report = await embed(engine, {"long.md": long_text(5000)})
    origin, watched = await watched_origin(engine)

    tables = [table async for table in of_job(origin, report.job_id)]

    assert len(tables) > 4
    assert max(map(len, tables)) <= ROWS
    assert max(map(len, watched.asked)) <= ROWS
    rows = pa.concat_tables(tables).to_pylist()
    assert [row["position"] for row in rows] == list(range(5000))
    assert await is_exact(engine, rows)


async def test_small_documents_share_tables_and_come_in_the_order_they_were_accepted(
    engine: Engine,
) -> None:
    names = [f"d{number}" for number in range(200)]
    report = await embed(engine, {name: f"text of {name}" for name in names})
    origin, watched = await watched_origin(engine)

    rows = await rows_of(of_job(origin, report.job_id))

    assert [row["document"] for row in rows] == names
    assert len(watched.asked) == 1


async def test_vector_files_serve_before_the_store(engine: Engine) -> None:
    report = await embed(engine, {"a.md": long_text(40), "b": "alone"})
    await keep_files(engine, report.job_id)
    origin = replace(await origin_of(engine), store=unreachable)

    rows = await rows_of(of_job(origin, report.job_id))

    assert len(rows) == 41
    assert await is_exact(engine, rows)


async def test_the_store_serves_what_is_in_no_vector_file(engine: Engine) -> None:
    report = await embed(engine, {"a.md": long_text(40), "b": "alone"})
    files = await keep_files(engine, report.job_id, leave_out=1)
    origin, watched = await watched_origin(engine)

    one_missing = await rows_of(of_job(origin, report.job_id))
    await engine.parts.blobs.delete(files)
    all_missing = await rows_of(of_job(origin, report.job_id))

    assert [len(ids) for ids in watched.asked] == [1, 41]
    assert one_missing == all_missing
    assert await is_exact(engine, all_missing)


async def keep_files(engine: Engine, job: int, *, leave_out: int = 0) -> list[str]:
    """Give the job vector files, as a paid embedder would leave them: one for each ten chunks."""
    rows = await job_rows(engine, job)
    kept = {
        input_hash(str(row["text"])): np.array(row["vector"], dtype=np.float32)
        for row in rows[leave_out:]
    }
    keys = list(kept)
    blobs = engine.parts.blobs
    files = [
        await write_vectors(blobs, {key: kept[key] for key in keys[at : at + 10]})
        for at in range(0, len(keys), 10)
    ]
    filled = update(batches).where(batches.c.job_id == job, batches.c.kind == BatchKind.EMBED)
    await engine.parts.database.write(lambda ledger: ledger.execute(filled.values(vectors=files)))
    return files


def input_hash(text: str) -> bytes:
    return bytes.fromhex(content_hash(b"\0" + text.encode()))


async def test_a_lost_record_is_an_error_before_anything_is_given(engine: Engine) -> None:
    report = await embed(engine, {"a": "one", "b": "two", "c": "three"})
    rows = await job_rows(engine, report.job_id)
    store = await engine.parts.store(engine.parts.store_locator())
    await store.delete("default", [str(rows[1]["id"])])

    with pytest.raises(NotFound, match=r"records of document 'b' are missing in the store; .+"):
        await anext(of_job(await origin_of(engine), report.job_id))


async def test_a_lost_manifest_is_an_error_that_names_the_document(engine: Engine) -> None:
    report = await embed(engine, {"a": "one"})
    manifests = [blob.key async for blob in engine.parts.blobs.list("manifests/")]
    await engine.parts.blobs.delete(manifests)

    with pytest.raises(NotFound, match="document 'a'"):
        await job_rows(engine, report.job_id)


async def test_a_replaced_document_is_left_out_and_comes_with_the_job_that_replaced_it(
    engine: Engine,
) -> None:
    first = await embed(engine, {"a": "old", "b": "stays"})
    second = await embed(engine, {"a": "new", "b": "stays"})

    assert [row["text"] for row in await job_rows(engine, first.job_id)] == ["stays"]
    assert [row["text"] for row in await job_rows(engine, second.job_id)] == ["new"]
    assert [row["text"] for row in await index_rows(engine)] == ["stays", "new"]


async def test_records_that_a_change_kept_are_given_with_those_it_made(engine: Engine) -> None:
    await embed(engine, {"a.md": long_text(10)})
    report = await embed(engine, {"a.md": long_text(10).replace("part is 3", "part was 3")})

    rows = await job_rows(engine, report.job_id)

    assert report.chunks_embedded == 1
    assert [row["position"] for row in rows] == list(range(10))
    assert await is_exact(engine, rows)


async def test_a_document_that_is_replaced_half_way_breaks_the_export_off(engine: Engine) -> None:
    report = await embed(engine, {"long.md": long_text(3000)})
    tables = of_job(await origin_of(engine), report.job_id)
    await anext(tables)

    await embed(engine, {"long.md": long_text(3000, "other")})

    with pytest.raises(Conflict, match=r"document 'long\.md' was replaced .+ ask .+ again"):
        await rows_of(tables)


async def test_an_index_gives_the_new_version_of_a_document_that_is_replaced_meanwhile(
    engine: Engine,
) -> None:
    await embed(engine, {"long.md": long_text(1500), "b": "old", "c": "last"})
    tables = export_index(await origin_of(engine))
    begun = await anext(tables)

    await embed(engine, {"b": "new"})
    rows = [*begun.to_pylist(), *await rows_of(tables)]

    assert [row["text"] for row in rows[1500:]] == ["last", "new"]
    assert await is_exact(engine, rows)


async def test_an_index_is_given_whole_by_scope_or_by_document(
    engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a").write_text("of the folder", encoding="utf-8")
    await embed(engine, {"a": "handed over", "ü": "umlaut"})
    report = await embed(engine, folder)

    assert (report.scope, report.listed) == ("notes", ("a",))
    assert len(await index_rows(engine)) == 3
    assert [row["text"] for row in await index_rows(engine, "a", "nobody")] == [
        "handed over",
        "of the folder",
    ]
    assert [row["text"] for row in await index_rows(engine, "a", scope="notes")] == [
        "of the folder"
    ]
    assert [row["text"] for row in await index_rows(engine, "ü")] == ["umlaut"]
    assert await index_rows(engine, "nobody") == []


async def test_deleted_and_failed_documents_give_nothing(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, data in {"a": b"kept", "b": b"gone", "c": b"\0\1\2"}.items():
        (folder / name).write_bytes(data)
    first = await embed(engine, folder)
    (folder / "b").unlink()
    (folder / "c").unlink()
    second = await embed(engine, folder, allow_delete=True)

    assert [row["document"] for row in await job_rows(engine, first.job_id)] == ["a"]
    assert await job_rows(engine, second.job_id) == []
    assert [row["document"] for row in await index_rows(engine)] == ["a"]


async def test_of_two_files_with_a_vector_the_one_that_is_there_serves(engine: Engine) -> None:
    report = await embed(engine, {"a": "one"})
    blobs, database = engine.parts.blobs, engine.parts.database
    key = b"k" * 16
    vector = np.arange(DIMENSIONS, dtype=np.float32)
    names = [await write_vectors(blobs, {key: vector}) for _ in range(2)]
    filled = update(batches).where(batches.c.kind == BatchKind.EMBED).values(vectors=names)
    await database.write(lambda ledger: ledger.execute(filled))
    files = VectorFiles(database, blobs, DIMENSIONS)
    await files.learn([report.job_id])
    await blobs.delete(names[:1])

    found = await files.find([key, b"x" * 16])

    assert list(found) == [key]
    assert (found[key] == vector).all()
    await blobs.delete(names)
    files = VectorFiles(database, blobs, DIMENSIONS)
    await files.learn([report.job_id])
    assert await files.find([key]) == {}
