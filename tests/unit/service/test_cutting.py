import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import BinaryIO

import pytest

from vectorflow.adapters.blob_stores.memory import MemoryBlobStore
from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.domain.documents import Attached, BlobRange, Section
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import Chunking
from vectorflow.errors import BrokenFile, DocumentFailed, NotFound, Unavailable
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.work import LeasedVersion
from vectorflow.service.cut import Bounds, Cut
from vectorflow.service.cutting import RUN_ATTACHED, RUN_BYTES, RUN_DOCUMENTS, SMALL, Cutting

CHUNKER = TokenChunker(WordTokenizer(), Chunking(chunker="tokens", size=5, overlap=0))


class Obedient:
    """Does what the document says; like a stranger's, it is no subclass of ours."""

    revision = 1
    suffixes = ()
    library = ""
    sandboxed = False

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        match source.read().split():
            case [b"break"]:
                raise BrokenFile("it is broken")
            case [b"stumble"]:
                raise ValueError("SECRET")
            case [b"hang_up"]:
                raise Unavailable("the sandbox is closed")
            case [b"attach", size]:
                yield Attached(name="a", data=bytes(int(size)))
            case [b"sections", *words]:
                for start, word in enumerate(words):
                    yield Section(text=word.decode(), start=start)
            case words:
                yield Section(text=b" ".join(words).decode(), start=0)


class Lending:
    """Lends an extractor, and counts how often."""

    def __init__(self) -> None:
        self.lent = 0

    def __call__(self, name: str) -> AbstractAsyncContextManager[Extractor]:
        assert name == "obedient"
        self.lent += 1
        return nullcontext(Obedient())


def make(blobs: MemoryBlobStore, lend: Lending, **bounds: int) -> Cutting:
    return Cutting(blobs=blobs, lend=lend, chunker=CHUNKER, bounds=Bounds(**bounds))


def version(
    number: int, source: BlobRange | None, extractor: str = "obedient", parts: int = 0
) -> LeasedVersion:
    part = Part(number=0, blob="p", row_start=0, rows=1, resume_at=1)
    return LeasedVersion(
        id=number,
        document=number,
        external_id=f"{number}.txt",
        number=1,
        extractor=extractor,
        source=source,
        metadata={},
        parts=(part,) * parts,
        base=(),
    )


def lengths_of_runs(*versions: LeasedVersion, **bounds: int) -> list[int]:
    cutting = make(MemoryBlobStore(), Lending(), **bounds)
    return [len(run) for run in cutting.runs(versions)]


def small(
    number: int = 1, length: int = 10, extractor: str = "obedient", parts: int = 0
) -> LeasedVersion:
    return version(number, BlobRange(blob="b", start=0, length=length), extractor, parts)


def test_small_documents_of_one_type_are_one_run() -> None:
    versions = [small(number) for number in range(10)]
    cutting = make(MemoryBlobStore(), Lending())

    assert list(cutting.runs(versions)) == [versions]
    assert list(cutting.runs([])) == []


@pytest.mark.parametrize(
    "other",
    [
        small(length=SMALL + 1),
        small(extractor="html"),
        small(parts=1),
        version(2, None),
    ],
    ids=["long", "of another type", "begun", "deleted"],
)
def test_what_is_not_like_its_neighbours_is_cut_by_itself(other: LeasedVersion) -> None:
    assert lengths_of_runs(small(), small(), other, small(), small()) == [2, 1, 2]


def test_a_run_has_an_end() -> None:
    most = RUN_BYTES // SMALL

    assert lengths_of_runs(*[small()] * (RUN_DOCUMENTS + 1)) == [RUN_DOCUMENTS, 1]
    assert lengths_of_runs(*[small(length=SMALL)] * (most + 1)) == [most, 1]


def test_where_lines_count_every_document_is_cut_by_itself() -> None:
    assert lengths_of_runs(small(), small(), lines=10) == [1, 1]


async def ahead(
    lend: Lending, *documents: str, lost: Sequence[int] = (), **bounds: int
) -> list[object]:
    """What comes of each document: its pieces, the code of its error, or None if it is left out."""
    blobs = MemoryBlobStore()
    run: list[LeasedVersion] = []
    for number, document in enumerate(documents):
        if number not in lost:
            await blobs.put(f"b{number}", [document.encode()])
        run.append(version(number, BlobRange(blob=f"b{number}", start=0, length=len(document))))
    found = await make(blobs, lend, **bounds).ahead(run)
    each: list[object] = []
    for number in range(len(documents)):
        try:
            cuts = found.get(number)
            each.append(None if cuts is None else [told(piece) async for piece in cuts])
        except DocumentFailed as error:
            each.append(error.code if "SECRET" not in str(error) else "it tells")

    return each


def told(piece: Cut | Attached) -> object:
    return piece.stretch.texts if isinstance(piece, Cut) else len(piece.data)


async def test_a_run_is_cut_with_one_extractor_and_a_failure_concerns_no_neighbour() -> None:
    lend = Lending()

    each = await ahead(lend, "one", "break", "a b c d e f", "stumble", "attach 7", "six")

    assert each == [
        [["one"]], "broken_file", [["a b c d e", "f"]], "document_failed", [7], [["six"]],
    ]  # fmt: skip
    assert lend.lent == 1


async def test_a_document_that_turns_out_to_be_long_is_left_to_be_cut_by_itself() -> None:
    lend = Lending()

    much = f"attach {RUN_ATTACHED + 1}"
    each = await ahead(lend, "one", "sections a b c", much, "a b c d e f", chunks=1)

    assert each == [[["one"]], None, None, [["a b c d e", "f"]]]


async def test_one_document_alone_is_not_cut_ahead() -> None:
    lend = Lending()

    assert await ahead(lend, "one") == [None]
    assert lend.lent == 0


async def test_when_a_blob_is_gone_each_document_says_so_for_itself() -> None:
    assert await ahead(Lending(), "one", "two", "three", lost=[1]) == [None] * 3
    blobs = MemoryBlobStore()
    cutting = make(blobs, Lending())
    with pytest.raises(NotFound):
        [piece async for piece in cutting.one(version(1, BlobRange(blob="b1", start=0, length=3)))]


async def test_what_is_no_fault_of_a_document_ends_the_run() -> None:
    with pytest.raises(Unavailable):
        await ahead(Lending(), "one", "hang_up", "three")


def test_ahead_or_alone_the_pieces_are_the_same() -> None:
    documents = ["one two three four five six seven", "attach 3", "x", ""]

    async def alone() -> list[object]:
        blobs = MemoryBlobStore()
        each: list[object] = []
        for number, document in enumerate(documents):
            await blobs.put(f"b{number}", [document.encode()])
            one = version(number, BlobRange(blob=f"b{number}", start=0, length=len(document)))
            cuts = make(blobs, Lending()).one(one)
            each.append([told(piece) async for piece in cuts])
        return each

    assert asyncio.run(ahead(Lending(), *documents)) == asyncio.run(alone())
