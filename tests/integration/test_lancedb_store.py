import asyncio
import contextlib
import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from vectorflow.adapters._lancedb_errors import translated
from vectorflow.adapters.vector_stores import lancedb as adapter
from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.domain.retries import FailureClass, class_of
from vectorflow.errors import IndexLost, IndexRefused, InvalidInput, OutOfSpace, Unavailable
from vectorflow.ports.vector_store import Query
from vectorflow.testing.records import (
    EAST,
    INDEX,
    MARKER,
    record_ids,
    records_of,
    rows_by_id,
    texts_found,
)

IN_ANOTHER_PROCESS = """
import asyncio, sys
from dataclasses import replace
import numpy as np
from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.testing.records import *

async def main(url, task, name):
    async with LanceDbVectorStore(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        await globals()[task](store, name)

async def create(store, name):
    for number in range(10):
        print((await store.create(f"race-{number}", replace(MARKER, ledger=name))).ledger)

async def write(store, name):
    shared = np.random.default_rng(1).standard_normal((50, 4), dtype=np.float32)
    for number in range(10):
        await store.upsert(INDEX, records_of(shared, ids=record_ids(50, f"shared {number}")))
        await store.upsert(INDEX, records_of(shared, ids=record_ids(50, f"{name} {number}")))
        await store.delete(INDEX, record_ids(25, f"{name} {number}"))

async def fill(store, name):
    rows = np.random.default_rng(1).standard_normal((2_000, 256), dtype=np.float32)
    await store.create(INDEX, replace(MARKER, dimensions=256))
    for number in range(100):
        try:
            await store.upsert(INDEX, records_of(rows, ids=record_ids(2_000, f"{number}")))
        except Exception as error:
            print(type(error).__name__, number, flush=True)
            left = [id async for page in store.ids(INDEX) for id in page]
            print(len(left) == len(set(left)) == 2_000 * number, flush=True)
            break

asyncio.run(main(*sys.argv[1:]))
"""


def start(url: str, task: str, name: str, *before: str) -> "subprocess.Popen[str]":
    command = [*before, sys.executable, "-c", IN_ANOTHER_PROCESS, url, task, name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_at_once(*processes: "subprocess.Popen[str]") -> list[list[str]]:
    """Give what each wrote, a line each."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs: list[list[str]] = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        outputs.append(process.communicate(timeout=60)[0].split("\n")[:-1])
        assert process.returncode == 0
    return outputs


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"lancedb://{tmp_path}/vectors"


async def all_ids(store: LanceDbVectorStore) -> list[str]:
    return [one async for page in store.ids(INDEX) for one in page]


async def is_compact(store: LanceDbVectorStore) -> bool:
    """Few files, or most rows in one of them."""
    table = await store._open(INDEX)  # noqa: SLF001
    assert table is not None
    stats: Any = await table.rows.stats()
    files = stats["fragment_stats"]
    most = int(files["lengths"]["max"])
    return int(files["num_fragments"]) <= 2 or 2 * most > int(stats["num_rows"])


def test_importing_the_adapter_does_not_import_lancedb() -> None:
    check = (
        "import sys, vectorflow.adapters.vector_stores.lancedb; sys.exit('lancedb' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_one_folder_has_one_locator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    expected = f"lancedb://{tmp_path.resolve()}/real"

    for way in ("real", "./real/", "link", f"{tmp_path}/x/../real"):
        assert LanceDbVectorStore.locator(f"lancedb://{way}") == expected
    with pytest.raises(InvalidInput):
        LanceDbVectorStore.locator("lancedb://")


async def test_two_processes_that_create_at_once_get_one_marker_each_time(url: str) -> None:
    first, second = run_at_once(start(url, "create", "first"), start(url, "create", "second"))

    assert len(first) == 10
    assert first == second
    async with LanceDbVectorStore(url) as store:
        for number, ledger in enumerate(first):
            assert await store.marker(f"race-{number}") == replace(MARKER, ledger=ledger)


async def test_two_processes_that_write_at_once_lose_and_double_nothing(url: str) -> None:
    async with LanceDbVectorStore(url) as store:
        await store.create(INDEX, MARKER)

        await asyncio.to_thread(run_at_once, start(url, "write", "a"), start(url, "write", "b"))

        expected = [
            one
            for number in range(10)
            for one in (
                *record_ids(50, f"shared {number}"),
                *record_ids(50, f"a {number}")[25:],
                *record_ids(50, f"b {number}")[25:],
            )
        ]
        assert sorted(await all_ids(store)) == sorted(expected)


@pytest.mark.slow
async def test_a_writer_that_is_killed_leaves_an_index_that_works(url: str) -> None:
    async with LanceDbVectorStore(url) as store:
        await store.create(INDEX, MARKER)
        for _ in range(3):
            process = start(url, "write", "a")
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            process.stdin.write("\n")
            process.stdin.flush()
            await asyncio.sleep(0.1)
            process.kill()
            process.communicate()

            await store.upsert(INDEX, records_of([EAST]))

            ids = await all_ids(store)
            assert len(ids) == len(set(ids))
            assert record_ids(1)[0] in ids


async def test_a_folder_removed_behind_our_back_is_a_lost_index(url: str, tmp_path: Path) -> None:
    async with LanceDbVectorStore(url) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
        for folder in (tmp_path / "vectors" / f"{INDEX}.lance", tmp_path / "vectors"):
            shutil.rmtree(folder)

            with pytest.raises(IndexLost):
                await store.upsert(INDEX, records_of([EAST]))
            assert await store.marker(INDEX) is None
            assert len(await store.fetch(INDEX, record_ids(1))) == 0
            assert len(await store.search(INDEX, Query(vector=EAST, k=1))) == 0
            await store.delete(INDEX, record_ids(1))
            await store.optimize(INDEX)
            assert not (tmp_path / "vectors" / f"{INDEX}.lance").exists()

            await store.create(INDEX, MARKER)
            await store.upsert(INDEX, records_of([EAST]))
            assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]


async def test_an_index_made_anew_by_another_process_is_not_taken_for_the_old_one(
    url: str, tmp_path: Path
) -> None:
    async with LanceDbVectorStore(url) as store, LanceDbVectorStore(url) as other:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
        shutil.rmtree(tmp_path / "vectors")
        await other.create(INDEX, replace(MARKER, incarnation="born-2"))
        await other.upsert(INDEX, records_of([EAST], ids=record_ids(1, "other")))

        await store.upsert(INDEX, records_of([EAST], ids=record_ids(1, "other")))

        assert await all_ids(store) == record_ids(1, "other")


async def test_files_removed_behind_our_back_are_a_lost_index(url: str, tmp_path: Path) -> None:
    async with LanceDbVectorStore(url) as store:
        await store.create(INDEX, MARKER)
        await store.upsert(INDEX, records_of([EAST]))
        shutil.rmtree(tmp_path / "vectors" / f"{INDEX}.lance" / "data")

        assert await store.marker(INDEX) is None
        with pytest.raises(IndexLost):
            await store.fetch(INDEX, record_ids(1))
        await store.create(INDEX, replace(MARKER, incarnation="born-2"))
        await store.upsert(INDEX, records_of([EAST]))
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["text 0"]


async def test_a_table_that_somebody_else_made_is_refused_and_left_alone(
    url: str, tmp_path: Path
) -> None:
    theirs = await lancedb.connect_async(tmp_path / "vectors")
    await theirs.create_table(INDEX, pa.table({"theirs": [1, 2]}))
    async with LanceDbVectorStore(url) as store:
        with pytest.raises(IndexRefused):
            await store.create(INDEX, MARKER)
        with pytest.raises(IndexLost):
            await store.upsert(INDEX, records_of([EAST]))
        await store.delete(INDEX, record_ids(1))

        assert await store.marker(INDEX) is None
        assert len(await store.search(INDEX, Query(vector=EAST, k=1))) == 0
    assert await (await theirs.open_table(INDEX)).count_rows() == 2


async def test_a_write_that_nobody_waits_for_any_more_is_not_doubled_by_the_next(url: str) -> None:
    async with LanceDbVectorStore(url) as store:
        await store.create(INDEX, MARKER)
        vectors = np.random.default_rng(1).standard_normal((3_000, 4), dtype=np.float32)
        for turns in range(12):
            records = records_of(vectors, ids=record_ids(3_000, f"{turns}"))
            write = asyncio.ensure_future(store.upsert(INDEX, records))
            for _ in range(turns):
                await asyncio.sleep(0)
            write.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await write

            await store.upsert(INDEX, records)

        ids = await all_ids(store)
        assert len(ids) == len(set(ids)) == 36_000


async def test_a_writer_that_waits_too_long_for_another_gives_up(url: str) -> None:
    async with LanceDbVectorStore(url) as store, LanceDbVectorStore(url, timeout=0.05) as hasty:
        await store.create(INDEX, MARKER)
        lock = adapter.try_lock(adapter.Path(url.removeprefix("lancedb://")) / f"{INDEX}.lance")
        assert lock is not None

        with pytest.raises(Unavailable):
            await hasty.upsert(INDEX, records_of([EAST]))

        os.close(lock)
        await store.upsert(INDEX, records_of([EAST], texts=["second"]))
        assert await texts_found(store, Query(vector=EAST, k=9)) == ["second"]


async def test_compaction_keeps_all_records_while_others_read_and_write(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_MAX_FILES", 2)
    monkeypatch.setattr(adapter, "_MAX_COMMITS", 5)
    monkeypatch.setattr(adapter, "_INDEX_ROWS", 100)
    monkeypatch.setattr(adapter, "_KEEP_VERSIONS", adapter.timedelta(milliseconds=1))
    vectors = np.random.default_rng(1).standard_normal((40, 4), dtype=np.float32)
    async with LanceDbVectorStore(url) as store, LanceDbVectorStore(url) as other:
        await store.create(INDEX, MARKER)

        async def write() -> None:
            for number in range(30):
                ids = record_ids(40, f"{number}")
                await store.upsert(INDEX, records_of(vectors, ids=ids))
                await store.delete(INDEX, ids[:5])
                await store.upsert(INDEX, records_of(vectors, ids=ids))

        async def read(writing: "asyncio.Task[None]") -> None:
            while not writing.done():
                await other.optimize(INDEX)
                await other.search(INDEX, Query(vector=EAST, k=5))
                await other.fetch(INDEX, record_ids(40, "0"))

        writing = asyncio.ensure_future(write())
        await asyncio.gather(writing, read(writing))
        await store.optimize(INDEX)

        expected = [one for number in range(30) for one in record_ids(40, f"{number}")]
        assert sorted(await all_ids(store)) == sorted(expected)
        assert sorted(rows_by_id(await other.fetch(INDEX, expected))) == sorted(expected)
        assert await store.marker(INDEX) == MARKER
        assert await is_compact(store)
    versions = list((tmp_path / "vectors" / f"{INDEX}.lance" / "_versions").iterdir())
    assert len(versions) < 10


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a small disk of its own")
@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("lance error: LanceError(IO): Permission denied (os error 13)"),
    ],
)
def test_a_folder_that_may_not_be_written_is_for_somebody_to_mend(error: Exception) -> None:
    with pytest.raises(IndexRefused, match="let this user write") as refused, translated(INDEX):
        raise error

    assert class_of(refused.value) is FailureClass.CONFIG


def test_a_full_disk_is_named_and_what_was_written_before_is_kept(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    small = f'mount -t tmpfs -o size=24m tmpfs "{disk}" && exec "$@"'
    private = ["unshare", "--map-root-user", "--mount", "sh", "-c", small, "sh"]
    if subprocess.run([*private, "true"], check=False).returncode != 0:
        pytest.skip("this user may not mount a small disk")

    (lines,) = run_at_once(start(f"lancedb://{disk}/vectors", "fill", "", *private))

    assert lines[0].startswith(f"{OutOfSpace.__name__} ")
    assert lines[1] == "True"
