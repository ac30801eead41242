"""What every blob store must do. Subclass the suite and give an empty store as `store`."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator

import pyarrow as pa
import pytest

from vectorflow.errors import NotFound
from vectorflow.ports.blob_store import BlobInfo, BlobStore

KEY = "uploads/0b5c-1.bin"
DATA = bytes(range(256)) * 40


class BlobStoreSuite:
    """The laws of the port `blob_store`."""

    @pytest.fixture
    def store(self) -> BlobStore:
        """Give an empty store."""
        raise NotImplementedError

    async def test_what_was_put_is_read_back_whole(self, store: BlobStore) -> None:
        written = await store.put(KEY, [DATA[:100], b"", DATA[100:]])

        assert written == len(DATA)
        assert _same(await store.read(KEY), DATA)

    async def test_parts_may_come_asynchronously(self, store: BlobStore) -> None:
        parts = [b"x" * 700_000, b"y" * 700_000, b"z" * 3_000_000, b"end"]

        written = await store.put(KEY, _slowly(parts))

        assert written == 4_400_003
        assert _same(await store.read(KEY), b"".join(parts))

    async def test_large_parts_are_kept_in_order(self, store: BlobStore) -> None:
        parts = [bytes([number]) * 600_000 for number in range(7)]

        written = await store.put(KEY, iter(parts))

        assert written == 4_200_000
        assert _same(await store.read(KEY), b"".join(parts))

    async def test_a_blob_may_be_empty(self, store: BlobStore) -> None:
        written = await store.put(KEY, [])

        assert written == 0
        assert await store.read(KEY) == b""
        assert [blob.key for blob in await _listed(store)] == [KEY]

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [
            (0, 5, DATA[:5]),
            (300, 7, DATA[300:307]),
            (10_000, None, DATA[10_000:]),
            (10_000, 1_000_000, DATA[10_000:]),
            (0, 0, b""),
            (len(DATA) + 5, 3, b""),
        ],
    )
    async def test_a_stretch_is_read_and_opened_alike(
        self, store: BlobStore, start: int, length: int | None, expected: bytes
    ) -> None:
        await store.put(KEY, [DATA])

        assert _same(await store.read(KEY, start, length), expected)
        with store.open(KEY, start, length) as stretch:
            assert _same(stretch.read(), expected)

    async def test_an_opened_stretch_is_a_seekable_file(self, store: BlobStore) -> None:
        await store.put(KEY, [DATA])

        with store.open(KEY, 100, 50) as stretch:
            assert stretch.seekable()
            assert stretch.read(3) == DATA[100:103]
            assert stretch.tell() == 3
            assert stretch.seek(-10, io.SEEK_END) == 40
            assert stretch.read(100) == DATA[140:150]
            assert stretch.read(1) == b""
            assert stretch.seek(0) == 0
            assert stretch.seek(2, io.SEEK_CUR) == 2
            assert stretch.read() == DATA[102:150]

    async def test_arrow_reads_a_table_out_of_the_middle_of_a_blob(self, store: BlobStore) -> None:
        table = pa.table({"position": [1, 2, 3], "text": ["a", "b", "c"]})
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        packed = sink.getvalue()
        await store.put(KEY, [b"before", packed, b"after"])

        with store.open(KEY, 6, len(packed)) as stretch:
            assert isinstance(stretch, io.IOBase)
            read = pa.ipc.open_file(stretch).read_all()

        assert read.equals(table)

    async def test_a_key_written_again_is_replaced(self, store: BlobStore) -> None:
        await store.put(KEY, [b"a longer first text"])

        await store.put(KEY, [b"second"])

        assert await store.read(KEY) == b"second"
        assert [(blob.key, blob.size) for blob in await _listed(store)] == [(KEY, 6)]

    async def test_a_failed_write_keeps_nothing(self, store: BlobStore) -> None:
        with pytest.raises(_SourceBroke):
            await store.put("uploads/new", _breaking())
        with pytest.raises(_SourceBroke):
            await store.put("uploads/newer", _slowly(_breaking()))

        assert await _listed(store) == []
        with pytest.raises(NotFound):
            await store.read("uploads/new")

    async def test_a_failed_write_keeps_what_was_there(self, store: BlobStore) -> None:
        await store.put(KEY, [b"first"])

        with pytest.raises(_SourceBroke):
            await store.put(KEY, _breaking())

        assert await store.read(KEY) == b"first"

    async def test_a_cancelled_write_keeps_nothing(self, store: BlobStore) -> None:
        reached = asyncio.Event()

        async def parts() -> AsyncIterator[bytes]:
            yield b"x" * 2_000_000
            reached.set()
            await asyncio.Event().wait()

        writing = asyncio.create_task(store.put(KEY, parts()))
        await reached.wait()
        writing.cancel()

        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await _listed(store) == []

    async def test_a_blob_is_not_there_before_it_is_whole(self, store: BlobStore) -> None:
        seen: list[BlobInfo] = []

        async def parts() -> AsyncIterator[bytes]:
            yield b"x" * 2_000_000
            seen.extend(await _listed(store))
            with pytest.raises(NotFound):
                await store.read(KEY)
            yield b"end"

        assert await store.put(KEY, parts()) == 2_000_003
        assert seen == []

    async def test_the_event_loop_goes_on_while_parts_are_pulled(self, store: BlobStore) -> None:
        loop_went_on = threading.Event()

        def parts() -> Iterator[bytes]:
            asyncio.run_coroutine_threadsafe(_set(loop_went_on), loop)
            yield b"went on" if loop_went_on.wait(timeout=5) else b"blocked"

        loop = asyncio.get_running_loop()
        await store.put(KEY, parts())

        assert await store.read(KEY) == b"went on"

    async def test_many_writes_at_once_do_not_disturb_each_other(self, store: BlobStore) -> None:
        blobs = {f"uploads/n{number}": bytes([number]) * number * 50 for number in range(40)}

        await asyncio.gather(*(store.put(key, [data]) for key, data in blobs.items()))

        assert {key: await store.read(key) for key in blobs} == blobs

    async def test_writes_of_one_key_at_once_leave_one_of_them_whole(
        self, store: BlobStore
    ) -> None:
        wholes = [bytes([number]) * 1_500_000 for number in range(6)]

        await asyncio.gather(*(store.put(KEY, [whole]) for whole in wholes))

        assert await store.read(KEY) in wholes
        assert len(await _listed(store)) == 1

    async def test_a_missing_blob_is_not_found(self, store: BlobStore) -> None:
        with pytest.raises(NotFound, match="uploads/none"):
            await store.read("uploads/none")
        with pytest.raises(NotFound, match="uploads/none"):
            store.open("uploads/none")

    async def test_deleting_takes_the_named_blobs_only(self, store: BlobStore) -> None:
        for name in ("a", "b", "c"):
            await store.put(f"uploads/{name}", [name.encode()])

        await store.delete(["uploads/a", "uploads/none", "uploads/c", "vectors/b"])

        assert [blob.key for blob in await _listed(store)] == ["uploads/b"]
        assert await store.read("uploads/b") == b"b"

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", ["manifests/a1", "uploads/a1", "uploads/a2.x", "uploads/b1"]),
            ("uploads/", ["uploads/a1", "uploads/a2.x", "uploads/b1"]),
            ("uploads/a", ["uploads/a1", "uploads/a2.x"]),
            ("uploads/a2.x", ["uploads/a2.x"]),
            ("man", ["manifests/a1"]),
            ("upload/", []),
            ("uploads/c", []),
        ],
    )
    async def test_a_listing_gives_what_begins_with_the_prefix(
        self, store: BlobStore, prefix: str, expected: list[str]
    ) -> None:
        for key in ("uploads/a1", "uploads/b1", "manifests/a1", "uploads/a2.x"):
            await store.put(key, [key.encode()])

        found = [blob async for blob in store.list(prefix)]

        assert sorted(blob.key for blob in found) == expected
        assert all(blob.size == len(blob.key) for blob in found)
        assert all(0 <= blob.age < 3600 for blob in found)

    async def test_the_room_left_is_known_or_unbounded(self, store: BlobStore) -> None:
        free = store.free_bytes()

        assert free is None or free > 0


class _SourceBroke(Exception):
    """What the parts of a blob came from broke; not the store's to translate."""


def _breaking() -> Iterator[bytes]:
    yield b"x" * 2_000_000
    yield b"some more"
    raise _SourceBroke


def _same(found: bytes, expected: bytes) -> bool:
    """Compare: of two that differ, pytest itself would look for minutes how they do."""
    return found == expected


async def _slowly(parts: Iterator[bytes] | list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def _set(event: threading.Event) -> None:
    event.set()


async def _listed(store: BlobStore) -> list[BlobInfo]:
    return [blob async for blob in store.list("")]
