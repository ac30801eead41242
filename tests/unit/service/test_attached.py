from collections.abc import AsyncIterable, Iterable

import pytest

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.api.desk import DeskLimits
from vectorflow.domain import attachments
from vectorflow.domain.documents import Attached, content_hash
from vectorflow.errors import LimitExceeded, UnsupportedFormat
from vectorflow.ports.work import NewAttached
from vectorflow.service import attached
from vectorflow.service.attached import Attachments

MAIL = 7


class CountingBlobs(MemoryBlobStore):
    """Remembers the keys that were written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    async def put(self, key: str, parts: Iterable[bytes] | AsyncIterable[bytes]) -> int:
        self.written.append(key)
        return await super().put(key, parts)


def detect(name: str, head: bytes) -> str:
    if head.startswith(b"?"):
        raise UnsupportedFormat("it is a riddle", fix="solve it")
    return "markdown" if name.endswith(".md") else "text"


@pytest.fixture
def blobs() -> CountingBlobs:
    return CountingBlobs()


@pytest.fixture
def inside(blobs: CountingBlobs) -> Attachments:
    return Attachments(blobs, detect, {"text": 1})


def piece(name: str, data: bytes) -> Attached:
    return Attached(name=name, data=data)


async def data_of(blobs: CountingBlobs, one: NewAttached) -> bytes:
    assert one.source is not None
    return await blobs.read(one.source.blob, one.source.start, one.source.length)


async def test_small_ones_of_several_documents_share_a_blob(
    blobs: CountingBlobs, inside: Attachments
) -> None:
    await inside.add(1, piece("../a.txt", b"one"))
    await inside.add(2, piece("b.txt", b"four"))
    await inside.add(1, piece("c.txt", b""))

    first, second = await inside.take(1), await inside.take(2)

    assert [one.name for one in first] == ["a.txt", "c.txt"]
    assert [await data_of(blobs, one) for one in [*first, *second]] == [b"one", b"", b"four"]
    assert [one.raw_hash for one in second] == [content_hash(b"four")]
    assert len(blobs.written) == 1
    assert blobs.written[0].startswith("attached/")


async def test_memory_holds_no_more_than_a_blob(
    blobs: CountingBlobs, inside: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "SHARED_BYTES", 10)
    for number in range(5):
        await inside.add(MAIL, piece(f"{number}", b"%d12345" % number))

    assert len(blobs.written) == 2
    taken = await inside.take(MAIL)
    assert [await data_of(blobs, one) for one in taken] == [b"%d12345" % n for n in range(5)]


async def test_what_nobody_reads_is_named_with_the_reason_and_not_kept(
    blobs: CountingBlobs, inside: Attachments
) -> None:
    await inside.add(MAIL, piece("a", b"?"))
    await inside.add(MAIL, piece("later.md", b"# new"))

    riddle, later = await inside.take(MAIL)

    assert (riddle.extractor, riddle.source) == ("", None)
    assert (riddle.reason, riddle.fix) == ("it is a riddle", "solve it")
    assert later.source is None
    assert "an extractor of markdown files" in later.reason
    assert blobs.written == []


async def test_the_same_file_twice_is_one_document(inside: Attachments) -> None:
    await inside.add(MAIL, piece("logo", b"one"))
    await inside.add(MAIL, piece("logo", b"one"))
    await inside.add(MAIL, piece("logo", b"two"))
    await inside.add(MAIL, piece("other", b"one"))

    assert [one.name for one in await inside.take(MAIL)] == ["logo", "logo", "other"]


async def test_what_is_in_a_document_that_failed_is_forgotten(
    blobs: CountingBlobs, inside: Attachments
) -> None:
    await inside.add(1, piece("a", b"one"))
    await inside.add(2, piece("b", b"two"))

    inside.drop(1)

    assert await inside.take(1) == ()
    (kept,) = await inside.take(2)
    assert await data_of(blobs, kept) == b"two"
    assert inside.count(2) == 0


async def test_a_document_has_only_so_many(
    inside: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "MAX_ATTACHED", 2)
    await inside.add(MAIL, piece("a", b"1"))
    await inside.add(MAIL, piece("b", b"2"))

    with pytest.raises(LimitExceeded, match="more than 2 attachments") as caught:
        await inside.add(MAIL, piece("c", b"3"))

    assert caught.value.limit == "entries"
    await inside.add(MAIL + 1, piece("c", b"3"))


async def test_a_document_has_only_so_many_bytes_of_them(
    inside: Attachments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "MAX_ATTACHED_BYTES", 5)
    await inside.add(MAIL, piece("a", b"123"))

    with pytest.raises(LimitExceeded) as caught:
        await inside.add(MAIL, piece("b", b"456"))

    assert caught.value.limit == "size"


def test_a_whole_document_of_attachments_fits_a_request_of_a_worker() -> None:
    longest = attachments.MAX_NAME * 4 + 500
    assert attachments.MAX_ATTACHED * longest < DeskLimits().json_bytes
    assert DeskLimits().blob_bytes >= attachments.MAX_ATTACHED_BYTES
