"""What differs between the ledger, its files and the stores is found, and work under way is not."""

import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

import vectorflow as vf
from vectorflow import settings
from vectorflow.adapters.vector_stores.lancedb import LanceDbVectorStore
from vectorflow.errors import NotFound
from vectorflow.flow import Flow
from vectorflow.ledger import contents, duties
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service import reconcile as service
from vectorflow.service.reconcile import Places, Report, compare_index
from vectorflow.wiring import Parts

DAY = 86_400.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory with three documents, one of them changed, and one that is gone again."""
    with vf.open(data_dir=tmp_path / "data", embedder="hash:8") as flow:
        write(tmp_path, a="The tide turns at noon.", b="Ring the bell.", c="Trim the wick.", d="!")
        embed(flow, tmp_path)
        write(tmp_path, a="The tide turns at night.")
        (tmp_path / "texts" / "d.txt").unlink()
        embed(flow, tmp_path)
    return tmp_path


def write(folder: Path, **texts: str) -> None:
    (folder / "texts").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / "texts" / f"{name}.txt").write_text(text, encoding="utf-8")


def embed(flow: Flow, folder: Path) -> None:
    assert flow.embed(folder / "texts").status == "completed"


def given(folder: Path) -> settings.Settings:
    chosen = {"data_dir": folder / "data", "embedder": "hash:8"}
    return settings.load(chosen, environ={}, directory=folder)


async def differences(folder: Path) -> list[tuple[str, str, int]]:
    async with Parts(given(folder)) as parts:
        report = await parts.reconcile()
    assert report.compared == ("ledger", "blobs", "default")
    return [(each.where, each.what, each.count) for each in report.differences]


async def ids(store: LanceDbVectorStore) -> list[str]:
    return sorted([key async for page in store.ids("default") for key in page])


async def lance(parts: Parts) -> LanceDbVectorStore:
    store = await parts.store(parts.store_locator())
    assert isinstance(store, LanceDbVectorStore)
    return store


async def test_after_all_is_done_nothing_differs(folder: Path) -> None:
    assert await differences(folder) == []


async def test_a_record_that_is_gone_and_one_that_nobody_knows_are_found(folder: Path) -> None:
    async with Parts(given(folder)) as parts:
        store = await lance(parts)
        first, *_ = await ids(store)
        record = await store.fetch("default", [first])
        await store.delete("default", [first])
        other = record.set_column(
            record.schema.get_field_index("id"), "id", pa.array([str(uuid.uuid4())])
        )
        await store.upsert("default", other)

        report = await parts.reconcile()

    assert [(each.what, each.count) for each in report.differences] == [
        ("records are missing", 1),
        ("records are left over", 1),
    ]
    assert report.differences[0].examples == (first,)


async def test_a_file_that_is_gone_is_found(folder: Path) -> None:
    async with Parts(given(folder)) as parts:
        needed = sorted(await parts.database.read(duties.referenced_blobs))
        await parts.blobs.delete(needed[:1])
        report = await parts.reconcile()

    blobs, index = report.differences
    assert (blobs.where, blobs.what, blobs.examples) == (
        "blobs", "needed and not there", (needed[0],),
    )  # fmt: skip
    assert (index.where, index.what) == ("default", "cannot be compared: not_found")


async def test_a_store_that_was_emptied_is_found(folder: Path) -> None:
    shutil.rmtree(folder / "data" / "vectors")

    [(where, what, _)] = await differences(folder)

    assert (where, what) == (
        "default", "the store lost the index, or holds another one of this name",
    )  # fmt: skip


async def test_a_counter_that_is_wrong_is_found(folder: Path) -> None:
    async with Parts(given(folder)) as parts:
        await parts.database.write(
            lambda connection: connection.exec_driver_sql(
                "UPDATE jobs SET docs_done = docs_done + 1 WHERE id = 1"
            )
        )

    found = await differences(folder)

    assert {where for where, _, _ in found} == {"ledger"}
    assert ("ledger", "not true: a job counts what became of its documents", 1) in found


async def test_an_index_is_compared_alone_and_one_that_is_not_there_is_refused(
    folder: Path,
) -> None:
    async with Parts(given(folder)) as parts:
        report = await parts.reconcile("default")
        with pytest.raises(NotFound, match="no store holds an index 'other'"):
            await parts.reconcile("other")

    assert report == Report(differences=(), compared=("ledger", "blobs", "default"), unchecked=())


class Busy(LanceDbVectorStore):
    """While it is listed, somebody changes documents."""

    folder: Path
    listed = 0

    async def ids(self, index: str) -> AsyncIterator[Sequence[str]]:
        pages = [list(page) async for page in super().ids(index)]
        write(self.folder, a="The tide turned.", c="Trim it again.", e="Something new.")
        (self.folder / "texts" / "b.txt").unlink()
        async with vf.aopen(data_dir=self.folder / "data", embedder="hash:8") as flow:
            await flow.embed(self.folder / "texts")
        pages += [list(page) async for page in super().ids(index)]
        merged = sorted({key for page in pages for key in page})
        self.listed = len(merged)
        for place in range(0, len(merged), 2):
            yield merged[place : place + 2]


async def test_documents_that_change_while_a_store_is_listed_are_no_difference(
    folder: Path,
) -> None:
    async with Parts(given(folder)) as parts:
        [index] = await parts.database.read(contents.stored_indexes)
        async with Busy(f"lancedb://{folder / 'data' / 'vectors'}") as busy:
            busy.folder = folder

            async def opened(_locator: str) -> VectorStore:
                return busy

            places = Places(
                database=parts.database, blobs=parts.blobs, open_store=opened, vectors_seconds=DAY
            )

            assert await compare_index(places, index) == []

    assert busy.listed == 6  # three as they were, and three new ones


async def test_a_store_that_cannot_list_is_not_compared(folder: Path) -> None:
    class Silent:
        """Only what is asked of it before its ids."""

        def __init__(self, store: VectorStore) -> None:
            self.marker = store.marker

    async with Parts(given(folder)) as parts:
        silent = Silent(await lance(parts))

        async def opened(_locator: str) -> VectorStore:
            return silent  # pyright: ignore[reportReturnType]

        places = Places(
            database=parts.database, blobs=parts.blobs, open_store=opened, vectors_seconds=DAY
        )
        report = await service.reconcile(places)

    assert (report.compared, report.unchecked) == (("ledger", "blobs"), ("default",))
