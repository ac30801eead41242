import asyncio
import errno
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from vectorflow.adapters._folder_owner import FILE, Owner
from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.errors import NotFound, OutOfSpace, Unavailable
from vectorflow.ports.blob_store import BlobInfo, BlobStore
from vectorflow.testing.blob_stores import BlobStoreSuite


class TestFileBlobStore(BlobStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return FileBlobStore(tmp_path / "not" / "there" / "yet")


class TestMemoryBlobStore(BlobStoreSuite):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryBlobStore()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    mounted = subprocess.run(  # the fixed arguments are ours
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)],  # noqa: S607
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)  # noqa: S607


async def test_a_full_disk_keeps_nothing_and_has_its_room_back(small_disk: Path) -> None:
    store = FileBlobStore(small_disk / "blobs")
    await store.put("uploads/small", [b"x" * 1000])
    before = store.free_bytes()

    with pytest.raises(OutOfSpace):
        await store.put("uploads/large", (b"x" * 100_000 for _ in range(100)))
    with pytest.raises(OutOfSpace):
        await store.put("uploads/large", _slowly([b"x" * 1_500_000, b"y" * 1_500_000]))

    assert [blob.key async for blob in store.list("")] == ["uploads/small"]
    assert _files(small_disk) == ["small"]
    assert before is not None
    assert store.free_bytes() > before - 100_000
    assert await store.put("uploads/fits", [b"x" * 1_000_000]) == 1_000_000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_disk_that_is_full_at_the_last_moment_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fsync(_: int) -> None:
        raise OSError(number, os.strerror(number))

    store = FileBlobStore(tmp_path / "blobs")
    await store.put("uploads/first", [b"first"])
    monkeypatch.setattr(os, "fsync", fsync)

    with pytest.raises(OutOfSpace):
        await store.put("uploads/first", [b"second"])

    assert await store.read("uploads/first") == b"first"
    assert _files(tmp_path) == ["first"]


async def test_a_broken_disk_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = FileBlobStore(tmp_path)
    await store.put("uploads/first", [b"first"])
    monkeypatch.setattr(os, "fsync", fsync)

    with pytest.raises(Unavailable, match="'first': Input/output error"):
        await store.put("uploads/first", [b"second"])


async def test_a_full_memory_keeps_what_was_there() -> None:
    store = MemoryBlobStore(capacity=10)
    await store.put("uploads/a", [b"123456"])

    with pytest.raises(OutOfSpace):
        await store.put("uploads/b", [b"12345"])
    await store.put("uploads/a", [b"1234567890"])

    assert [blob.key async for blob in store.list("")] == ["uploads/a"]
    assert store.free_bytes() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names of open files are read from /proc")
async def test_a_blob_and_its_name_are_on_the_disk_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    await FileBlobStore(tmp_path / "blobs").put("uploads/a", [b"a"])

    made, (draft, folder) = synced[:-2], synced[-2:]
    assert made == [tmp_path.name, "blobs", "uploads"]
    assert draft.startswith("a~")
    assert (tmp_path / "blobs" / "uploads" / folder / "a").read_bytes() == b"a"


@pytest.mark.skipif(sys.platform != "linux", reason="names of open files are read from /proc")
async def test_the_owner_of_a_folder_is_on_the_disk_before_its_first_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition("~")[0])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    await FileBlobStore(tmp_path / "blobs", owner("one")).put("uploads/a", [b"a"])

    assert synced[:4] == [tmp_path.name, FILE, "blobs", "blobs"]
    assert (tmp_path / "blobs" / FILE).read_text("utf-8") == "one\n"
    assert _files(tmp_path) == ["a", FILE]


async def test_of_two_ledgers_that_begin_a_folder_at_once_one_has_it(tmp_path: Path) -> None:
    stores = [FileBlobStore(tmp_path, owner(name)) for name in ("one", "two") for _ in range(4)]

    ended = await asyncio.gather(
        *(store.put(f"uploads/{number}", [b"a"]) for number, store in enumerate(stores)),
        return_exceptions=True,
    )

    named = (tmp_path / FILE).read_text("utf-8").strip()
    first, second = ended[:4], ended[4:]
    own, others = (first, second) if named == "one" else (second, first)
    assert own == [1] * 4
    assert {type(one) for one in others} == {Unavailable}


async def test_a_file_system_without_hard_links_holds_the_owner_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    await FileBlobStore(tmp_path, owner("one")).put("uploads/a", [b"a"])

    assert _files(tmp_path) == ["a", FILE]
    with pytest.raises(Unavailable, match="another ledger"):
        FileBlobStore(tmp_path, owner("two")).free_bytes()


def owner(id: str) -> Owner:
    """A ledger that needs no blob and knows none."""
    return Owner(id=id, needed=list, knows=lambda _: False)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "uploads",
        "uploads/",
        "/uploads/a",
        "uploads/.",
        "uploads/..",
        "uploads/.hidden",
        "uploads/a/b",
        "../a",
        "uploads/a b",
        "uploads/a~b",
        "uploads/a\n",
        "uploads/" + "a" * 201,
        "Uploads/a",
    ],
)
async def test_what_is_no_key_never_becomes_a_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="no key of a blob"):
        await FileBlobStore(tmp_path).put(key, [b"a"])

    assert _files(tmp_path) == []


async def test_a_file_that_somebody_put_there_is_neither_listed_nor_deleted(
    tmp_path: Path,
) -> None:
    store = FileBlobStore(tmp_path)
    await store.put("uploads/a", [b"a"])
    _leave_draft(tmp_path, ".DS_Store", age=25 * 3600)

    assert [blob.key async for blob in store.list("")] == ["uploads/a"]
    assert _files(tmp_path) == [".DS_Store", "a"]


async def test_the_draft_of_a_crashed_writer_is_not_listed_and_goes_after_a_day(
    tmp_path: Path,
) -> None:
    store = FileBlobStore(tmp_path)
    await store.put("uploads/a", [b"a"])
    _leave_draft(tmp_path, "a~1", age=3600)
    _leave_draft(tmp_path, "a~2", age=25 * 3600)

    listed = [blob.key async for blob in store.list("")]

    assert listed == ["uploads/a"]
    assert _files(tmp_path) == ["a", "a~1"]


async def test_blobs_are_spread_over_many_folders(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)

    for number in range(50):
        await store.put(f"uploads/{number}", [b"a"])

    assert len(list((tmp_path / "uploads").iterdir())) > 25


async def test_two_stores_on_one_directory_see_the_same_blobs(tmp_path: Path) -> None:
    await FileBlobStore(tmp_path).put("uploads/a", [b"a"])

    assert await FileBlobStore(tmp_path).read("uploads/a") == b"a"


async def test_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path)
    await store.put("uploads/a", [b"first"])

    with store.open("uploads/a") as opened:
        await store.put("uploads/a", [b"second"])
        await store.delete(["uploads/a"])

        assert opened.read() == b"first"
    assert opened.closed
    with pytest.raises(NotFound):
        store.open("uploads/a")


class Appends(MemoryBlobStore):
    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        old = await self.read(key) if key in self._blobs else b""
        written = await super().put(key, parts)
        await super().put(key, [old, await self.read(key)])
        return written


class KeepsHalves(MemoryBlobStore):
    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        whole = b""
        async for part in parts if isinstance(parts, AsyncIterable) else _slowly(parts):
            whole += part
            await super().put(key, [whole])
        return await super().put(key, [whole])


class BlocksTheLoop(MemoryBlobStore):
    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        return await super().put(
            key, parts if isinstance(parts, AsyncIterable) else [b"".join(parts)]
        )


class MixesParts(MemoryBlobStore):
    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        if isinstance(parts, AsyncIterable):
            return await super().put(key, parts)
        return await super().put(key, reversed(list(parts)))


class ReadsToTheEnd(MemoryBlobStore):
    def _stretch(self, key: str, start: int, length: int | None) -> bytes:
        del length
        return super()._stretch(key, start, None)


class OpensTheWhole(MemoryBlobStore):
    def open(self, key: str, start: int = 0, length: int | None = None) -> BinaryIO:
        del length
        opened = super().open(key)
        opened.seek(start)
        return opened


class GivesNothingForMissing(MemoryBlobStore):
    def _stretch(self, key: str, start: int, length: int | None) -> bytes:
        return super()._stretch(key, start, length) if key in self._blobs else b""


class ListsAll(MemoryBlobStore):
    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        async for blob in super().list(prefix[:1]):
            yield blob


class DeletesAll(MemoryBlobStore):
    async def delete(self, keys: Iterable[str]) -> None:
        del keys
        self._blobs.clear()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Appends, "test_a_key_written_again_is_replaced"),
        (KeepsHalves, "test_a_failed_write_keeps_nothing"),
        (KeepsHalves, "test_a_failed_write_keeps_what_was_there"),
        (KeepsHalves, "test_a_cancelled_write_keeps_nothing"),
        (KeepsHalves, "test_a_blob_is_not_there_before_it_is_whole"),
        pytest.param(
            BlocksTheLoop,
            "test_the_event_loop_goes_on_while_parts_are_pulled",
            marks=pytest.mark.slow,
        ),
        (MixesParts, "test_what_was_put_is_read_back_whole"),
        (MixesParts, "test_large_parts_are_kept_in_order"),
        (OpensTheWhole, "test_an_opened_stretch_is_a_seekable_file"),
        (ReadsToTheEnd, "test_an_opened_stretch_is_a_seekable_file"),
        (ReadsToTheEnd, "test_arrow_reads_a_table_out_of_the_middle_of_a_blob"),
        (GivesNothingForMissing, "test_a_missing_blob_is_not_found"),
        (DeletesAll, "test_deleting_takes_the_named_blobs_only"),
    ],
)
async def test_the_suite_catches_a_broken_store(broken: type[MemoryBlobStore], law: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError, NotFound)):
        await getattr(BlobStoreSuite(), law)(broken())


async def test_the_suite_catches_a_listing_that_ignores_its_prefix() -> None:
    with pytest.raises(AssertionError):
        await BlobStoreSuite().test_a_listing_gives_what_begins_with_the_prefix(
            ListsAll(), "uploads/a", ["uploads/a1", "uploads/a2.x"]
        )


async def test_the_suite_catches_a_stretch_that_does_not_end() -> None:
    with pytest.raises(AssertionError):
        await BlobStoreSuite().test_a_stretch_is_read_and_opened_alike(
            ReadsToTheEnd(), 300, 7, b"expected"
        )


async def _slowly(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


def _leave_draft(root: Path, name: str, *, age: float) -> None:
    """Put a file beside the only blob there is."""
    (folder,) = (root / "uploads").iterdir()
    (folder / name).write_bytes(b"half")
    os.utime(folder / name, (time.time() - age,) * 2)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
