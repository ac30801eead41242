"""How a document is handed to a child: in the message, as its own file, or as a copy."""

import io
import os
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import pytest

from vectorflow.adapters.blob_stores.files import FileBlobStore
from vectorflow.errors import OutOfSpace
from vectorflow.sandbox import documents
from vectorflow.sandbox.documents import INLINE, handed_over
from vectorflow.testing.extractors import Trickle

LARGE = bytes(range(256)) * (INLINE // 256) + b"more"


def content(file: int | None) -> bytes:
    assert file is not None
    return os.pread(file, 1 << 30, 0)


@pytest.mark.parametrize("size", [0, 1, INLINE])
def test_a_small_document_goes_in_the_message(size: int) -> None:
    for source in (io.BytesIO(LARGE[:size]), Trickle(LARGE[:size], (1000, 70_000))):
        with handed_over("x:Y", source) as document:
            assert (document.extractor, document.data) == ("x:Y", LARGE[:size])
            assert document.file is None


def test_a_large_document_in_memory_is_copied_into_a_file_without_a_name() -> None:
    for source in (io.BytesIO(LARGE), Trickle(LARGE, (5, 200_000))):
        with handed_over("x:Y", source) as document:
            assert content(document.file) == LARGE
            assert document.data == b""
            assert os.fstat(cast("int", document.file)).st_nlink == 0


def test_a_large_file_is_handed_over_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE)

    with (tmp_path / "file").open("rb") as source, handed_over("x:Y", source) as document:
        assert document.file == source.fileno()


async def test_a_blob_of_its_own_is_handed_over_as_it_is(tmp_path: Path) -> None:
    blobs = FileBlobStore(tmp_path)
    await blobs.put("uploads/whole", [LARGE])

    with blobs.open("uploads/whole") as source, handed_over("x:Y", source) as document:
        assert document.file == source.fileno()
    with (
        blobs.open("uploads/whole", 0, len(LARGE)) as source,
        handed_over("x:Y", source) as document,
    ):
        assert document.file == source.fileno()


@pytest.mark.parametrize(("before", "after"), [(b"NEIGHBOUR", b""), (b"", b"NEIGHBOUR")])
async def test_a_part_of_a_blob_is_copied_lest_its_neighbours_be_seen(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    blobs = FileBlobStore(tmp_path)
    await blobs.put("uploads/shared", [before, LARGE, after])

    with (
        blobs.open("uploads/shared", len(before), len(LARGE)) as source,
        handed_over("x:Y", source) as document,
    ):
        assert content(document.file) == LARGE


def test_a_file_that_was_begun_is_copied_from_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"begun" + LARGE)

    with (tmp_path / "file").open("rb") as source:
        source.read(5)
        with handed_over("x:Y", source) as document:
            assert content(document.file) == LARGE


def test_a_download_that_was_spooled_is_handed_over() -> None:
    with SpooledTemporaryFile(max_size=10) as spooled:
        spooled.write(LARGE)
        spooled.seek(0)
        with handed_over("x:Y", cast("BinaryIO", spooled)) as document:
            assert content(document.file) == LARGE


def test_no_room_for_a_copy_is_no_fault_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> BinaryIO:
        return cast("BinaryIO", open("/dev/full", "w+b"))  # noqa: PTH123

    monkeypatch.setattr(documents.tempfile, "TemporaryFile", full)

    with pytest.raises(OutOfSpace), handed_over("x:Y", io.BytesIO(LARGE)):
        pass
