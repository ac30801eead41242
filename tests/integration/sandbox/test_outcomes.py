"""What becomes of documents that are too much for their extractor, and of their neighbours."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path

import pytest

from tests.bad_extractors import BadExtractor, PlainExtractor
from vectorflow.domain.documents import Attached, Section, SectionKind
from vectorflow.errors import (
    BrokenFile,
    DocumentFailed,
    EncryptedFile,
    ExtractorCrashed,
    LimitExceeded,
    Unavailable,
    UnsupportedFormat,
)
from vectorflow.sandbox.extractor import SandboxedExtractor, sandboxed
from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.places import places_of
from vectorflow.sandbox.pool import Pool, PoolOptions

LIMITS = Limits(memory=512 << 20, cpu=1, silence=20.0, output=1_000_000)


def make_pool(limits: Limits = LIMITS, documents: int = 1000) -> Pool:
    options = PoolOptions(children=1, documents=documents)
    return Pool(lambda: places_of({"vectorflow", "tests"}), limits, options)


@pytest.fixture(scope="module")
def shared() -> Iterator[Pool]:
    # More CPU than what fills the memory takes, on a busy machine too.
    pool = make_pool(replace(LIMITS, cpu=30))
    yield pool
    pool.close()


@pytest.fixture
def pool(shared: Pool) -> Iterator[Pool]:
    """A pool that is as it was after each test: every child is idle or gone."""
    yield shared
    assert pids(shared) == sorted(child._process.pid for child in shared._idle)  # noqa: SLF001


def pids(pool: Pool) -> list[int]:
    return sorted(child._process.pid for child in pool._all)  # noqa: SLF001


def extracted(
    pool: Pool, document: str | bytes, name: str = "BadExtractor"
) -> Iterator[Section | Attached]:
    source = BytesIO(document if isinstance(document, bytes) else document.encode())
    return SandboxedExtractor(pool, f"tests.bad_extractors:{name}").extract(source)


def extract(pool: Pool, document: str | bytes, name: str = "BadExtractor") -> list[Section]:
    pieces = extracted(pool, document, name)
    return [piece for piece in pieces if isinstance(piece, Section)]


def said(pool: Pool, document: str | bytes, name: str = "BadExtractor") -> str:
    return "".join(section.text for section in extract(pool, document, name))


def test_pieces_come_out_as_the_extractor_gives_them(pool: Pool) -> None:
    here = list(BadExtractor().extract(BytesIO(b"say_all w\xc3\xb6rds")))

    there = list(extracted(pool, "say_all wörds"))

    assert there == here
    assert {type(piece) for piece in here} == {Section, Attached}
    assert SectionKind.TABLE in {piece.kind for piece in here if isinstance(piece, Section)}


def test_a_child_has_one_document_after_the_other(pool: Pool) -> None:
    said(pool, "say hello")
    before = pool.started

    assert [said(pool, f"say {number}") for number in range(20)] == [str(n) for n in range(20)]
    assert pool.started == before


def extract_each(pool: Pool, *documents: str) -> list[str]:
    """What is said of each document: its text, or its error."""
    sources = [BytesIO(document.encode()) for document in documents]
    extractor = SandboxedExtractor(pool, "tests.bad_extractors:BadExtractor")
    return [told(pieces) for pieces in extractor.extract_each(sources)]


def told(pieces: Iterator[Section | Attached]) -> str:
    try:
        return "".join(piece.text for piece in pieces if isinstance(piece, Section))
    except DocumentFailed as error:
        return error.code


def test_small_documents_are_handed_over_at_once_and_come_out_one_by_one(pool: Pool) -> None:
    said(pool, "say hello")
    [child] = pool._idle  # noqa: SLF001
    documents = [BytesIO(f"say_all {number}".encode()) for number in range(20)]
    each = SandboxedExtractor(pool, "tests.bad_extractors:BadExtractor").extract_each(documents)

    first = list(next(each))

    assert child.waiting == 19
    here = [list(BadExtractor().extract(BytesIO(document.getvalue()))) for document in documents]
    assert [first, *map(list, each)] == here
    assert pool._idle == [child]  # noqa: SLF001


def test_more_documents_than_a_message_holds_come_out_too(pool: Pool) -> None:
    texts = [f"{number} " + "long " * 3000 for number in range(20)]

    assert extract_each(pool, *(f"say {text}" for text in texts)) == texts


def test_of_documents_handed_over_at_once_one_that_fails_concerns_no_other(pool: Pool) -> None:
    before = pool.started

    each = extract_each(pool, "say one", "broken x", "say three", "encrypted x", "say five")

    assert each == ["one", "broken_file", "three", "encrypted_file", "five"]
    assert pool.started <= before + 1


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("abort x", "extractor_crashed"),
        ("exit x", "extractor_crashed"),
        ("corrupt x", "extractor_crashed"),
        ("lie x", "extractor_crashed"),
        ("kill_itself x", "limit_exceeded"),
        ("allocate x", "limit_exceeded"),
    ],
)
def test_of_documents_handed_over_at_once_one_that_kills_the_child_dies_alone(
    pool: Pool, deed: str, code: str
) -> None:
    each = extract_each(pool, "say one", "say two", deed, "say four", deed, "say six")

    assert each == ["one", "two", code, "four", code, "six"]


def test_of_documents_handed_over_at_once_one_that_says_too_much_is_cut_off_alone() -> None:
    with closing(make_pool(Limits(output=1000))) as pool:
        each = extract_each(pool, "say one", f"say {'much' * 300}", "say three")

    assert each == ["one", "limit_exceeded", "three"]


def test_a_document_that_is_not_read_to_its_end_leaves_the_next_one_whole(pool: Pool) -> None:
    sources = [BytesIO(b"say_all words"), BytesIO(b"say next"), BytesIO(b"say last")]
    each = SandboxedExtractor(pool, "tests.bad_extractors:BadExtractor").extract_each(sources)

    unread = next(each)
    next(unread)

    assert [told(pieces) for pieces in each] == ["next", "last"]


def test_documents_handed_over_at_once_can_be_broken_off(pool: Pool) -> None:
    sources = [BytesIO(b"sleep x"), BytesIO(b"say two")]
    extractor = SandboxedExtractor(pool, "tests.bad_extractors:BadExtractor")
    each = extractor.extract_each(sources)
    first = next(each)

    extractor.break_off()

    with pytest.raises(Unavailable, match="broken off"):
        list(first)
    each.close()


@pytest.mark.parametrize(
    ("deed", "how"),
    [
        ("abort", "SIGABRT"),
        ("segfault", "SIGSEGV"),
        ("exit", "exit status 0"),
        ("corrupt", "it sent what is no message"),
        ("lie", "its sections do not follow each other"),
    ],
)
def test_a_library_that_dies_fails_its_document_only(pool: Pool, deed: str, how: str) -> None:
    assert said(pool, "say before") == "before"

    with pytest.raises(ExtractorCrashed, match=how) as caught:
        said(pool, f"{deed} SECRET")

    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__}"
    assert caught.value.fix
    assert said(pool, "say after") == "after"


def test_a_child_that_hangs_up_and_lives_on_is_ended(pool: Pool) -> None:
    with pytest.raises(ExtractorCrashed, match="it hung up"):
        said(pool, "hang_up x")


@pytest.mark.parametrize("deed", ["allocate", "kill_itself", "give_up", "eat"])
def test_a_document_that_takes_too_much_memory_is_told_so(pool: Pool, deed: str) -> None:
    with pytest.raises(LimitExceeded, match="more than 512 MiB of memory") as caught:
        said(pool, f"{deed} x")

    assert caught.value.limit == "memory"
    assert said(pool, "say after") == "after"


def test_memory_that_a_library_takes_by_itself_is_refused_too(pool: Pool) -> None:
    assert said(pool, "allocate_natively") == "OSError"


@pytest.mark.slow
def test_a_document_that_takes_too_much_cpu_is_told_so() -> None:
    pool = make_pool()

    with pytest.raises(LimitExceeded, match="more than 1 s of CPU") as caught:
        said(pool, "spin x")
    pool.close()

    assert caught.value.limit == "cpu"
    assert pool.started == 1


@pytest.mark.slow
def test_who_used_up_its_own_cpu_time_is_not_given_more() -> None:
    pool = make_pool()
    said(pool, "say before")

    with pytest.raises(LimitExceeded, match="CPU"):
        said(pool, "spin x")

    assert pool.started == 1
    pool.close()


@pytest.mark.slow
def test_each_document_has_its_own_cpu_time() -> None:
    pool = make_pool()

    assert [said(pool, "burn 0.5") for _ in range(6)] == ["0.5"] * 6
    assert pool.started == 1
    pool.close()


@pytest.mark.parametrize("deed", ["sleep", "sleep_deaf"])
def test_a_document_over_which_nothing_happens_is_given_up(deed: str) -> None:
    pool = make_pool(Limits(silence=0.5))

    with pytest.raises(LimitExceeded, match="no text came out of it") as caught:
        said(pool, f"{deed} x")

    assert caught.value.limit == "time"
    assert pids(pool) == []
    pool.close()


@pytest.mark.slow
def test_slow_work_is_no_silence() -> None:
    pool = make_pool(Limits(silence=2.5))

    assert said(pool, "drip 0.6") == "012345"
    pool.close()


def test_a_document_that_gives_too_much_is_told_so(pool: Pool) -> None:
    lengths: list[int] = []
    pieces = extracted(pool, "flood")

    with pytest.raises(LimitExceeded, match="more than 1,000,000 characters") as caught:
        lengths.extend(len(piece.text) for piece in pieces if isinstance(piece, Section))

    assert caught.value.limit == "output"
    assert sum(lengths) <= 1_000_000


@pytest.mark.parametrize(
    ("deed", "kind", "message"),
    [
        ("broken", BrokenFile, "the table ends too early; save it again"),
        (
            "encrypted",
            EncryptedFile,
            "it needs a password; remove the password, then send it again",
        ),
        ("limited", LimitExceeded, "it has too many pages; split it, or leave it out"),
        ("other_error", DocumentFailed, "the moon is away; wait"),
        ("quote", BrokenFile, r"does not get through it \(ValueError\)"),
        ("panic", BrokenFile, r"does not get through it \(BaseException\)"),
        ("system_exit", BrokenFile, r"does not get through it \(SystemExit\)"),
        ("nest", LimitExceeded, "nested too deeply"),
    ],
)
def test_an_error_comes_out_as_what_it_is_and_quotes_nothing(
    pool: Pool, deed: str, kind: type[DocumentFailed], message: str
) -> None:
    said(pool, "say hello")
    before = pool.started

    with pytest.raises(DocumentFailed, match=message) as caught:
        said(pool, f"{deed} SECRET")

    assert type(caught.value) is kind
    assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__}"
    assert pool.started == before, "the child went on"


def test_the_name_of_a_limit_comes_along(pool: Pool) -> None:
    with pytest.raises(LimitExceeded) as caught:
        said(pool, "limited")

    assert caught.value.limit == "pages"


def test_a_library_that_is_not_there_is_said_to_be_missing(pool: Pool) -> None:
    with pytest.raises(UnsupportedFormat, match="cannot be loaded in the sandbox"):
        said(pool, "x", "UnloadableExtractor")
    with pytest.raises(UnsupportedFormat, match="cannot be loaded in the sandbox"):
        list(SandboxedExtractor(pool, "tests.no_such_module:X").extract(BytesIO(b"x")))


def test_sections_that_came_before_an_error_are_given(pool: Pool) -> None:
    found = extracted(pool, "broken first")

    assert isinstance(first := next(found), Section)
    assert first.text == "first"
    with pytest.raises(BrokenFile):
        next(found)


def test_what_a_library_prints_goes_nowhere(
    pool: Pool, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    assert said(pool, "print a") == "a and lived"
    assert said(pool, "complain b") == "b and lived", "a full pipe stops nobody"

    shown = capfd.readouterr()
    assert "SECRET" not in shown.out + shown.err + caplog.text


def test_who_died_after_others_is_tried_again_in_a_fresh_child_and_goes_on_there() -> None:
    pool = make_pool()
    assert said(pool, "spoil x") == "x"

    word = "x" * 70_000  # so much is sent at once, not held back until there is more
    sections = extract(pool, f"die_once_used 5 {word}")

    assert [section.text for section in sections] == [word] * 5
    assert [section.start for section in sections] == [0, 70_000, 140_000, 210_000, 280_000]
    assert pool.started == 2
    pool.close()


def test_a_fresh_child_that_dies_is_not_replaced() -> None:
    pool = make_pool()

    with pytest.raises(ExtractorCrashed):
        said(pool, "abort x")

    assert pool.started == 1
    pool.close()


def test_a_child_is_replaced_after_its_documents() -> None:
    pool = make_pool(documents=3)

    born = [said(pool, "pid") for _ in range(7)]

    assert [born.count(pid) for pid in dict.fromkeys(born)] == [3, 3, 1]
    pool.close()


def test_a_child_that_keeps_half_of_its_memory_is_replaced() -> None:
    pool = make_pool(Limits(memory=256 << 20))
    born = [said(pool, "pid")]

    for deed in ("keep 60", "keep 60", "say x"):
        said(pool, deed)
        born.append(said(pool, "pid"))

    assert [pid == born[0] for pid in born] == [True, True, False, False]
    assert born[2] == born[3]
    pool.close()


def test_an_iterator_that_is_closed_early_leaves_no_child_at_work(pool: Pool) -> None:
    found = extracted(pool, "flood")
    first = list(islice(found, 2))

    found.close()  # type: ignore[attr-defined]

    assert len(first) == 2
    assert said(pool, "say after") == "after"


def test_a_document_nobody_reads_on_waits(pool: Pool) -> None:
    """The pipe is full, and the child sleeps: it neither fills memory nor is taken for hung."""
    found = extracted(pool, "repeat 10 " + "x" * 90_000)
    next(found)
    time.sleep(0.3)

    assert len(list(found)) == 9


def test_a_large_document_is_read_as_a_file() -> None:
    pool = make_pool(Limits())
    text = "".join(f"line {number}\n" for number in range(200_000))

    assert said(pool, text, "PlainExtractor") == text
    pool.close()


def test_a_large_document_is_tried_again_from_its_first_byte() -> None:
    pool = make_pool(Limits())
    assert said(pool, "spoil x") == "x"

    assert said(pool, "die_once_used 5 words " + "x" * (2 << 20)) == "words" * 5
    assert pool.started == 2
    pool.close()


def test_an_empty_document_gives_nothing(pool: Pool) -> None:
    assert said(pool, "", "PlainExtractor") == ""


async def test_who_leaves_early_ends_the_child_at_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = make_pool()

    async with sandboxed(pool, BadExtractor) as extractor:
        found = iter(extractor.extract(BytesIO(b"sleep " + b"x" * 100_000)))
        next(found)  # so much is not held back
        waiting = asyncio.create_task(asyncio.to_thread(next, found))
        await asyncio.sleep(0.05)
    with pytest.raises(DocumentFailed) as caught:
        await waiting

    assert "no text came" not in str(caught.value), "it did not wait until its time was up"
    assert pids(pool) == []
    assert pool.started == 1, "nothing is tried again"
    assert not caplog.records, "no document is to blame"
    pool.close()


async def test_as_many_documents_are_read_at_once_as_there_may_be_children() -> None:
    pool = Pool(lambda: places_of({"vectorflow"}), LIMITS, PoolOptions(children=2))
    waiting = sandboxed(pool, PlainExtractor)

    async with sandboxed(pool, PlainExtractor):
        async with sandboxed(pool, PlainExtractor):
            third = asyncio.create_task(waiting.__aenter__())
            await asyncio.sleep(0)
            assert not third.done()
        await third
        await waiting.__aexit__(None, None, None)

    assert pool.started == 0, "an extractor that is not used needs no child"


def test_a_closed_pool_leaves_nothing_behind_and_fails_no_document() -> None:
    held = open_files()
    pool = make_pool()
    found = extracted(pool, "sleep " + "x" * 100_000)
    next(found)
    other = pool.take()
    pool.give_back(other)

    pool.close()

    with pytest.raises(Unavailable):
        next(found)
    with pytest.raises(Unavailable):
        said(pool, "say x")
    assert pids(pool) == []
    assert open_files() == held


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
