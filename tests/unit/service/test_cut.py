import io
from collections.abc import Iterator
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.adapters.chunkers.tokens import TokenChunker
from vectorflow.adapters.extractors.text import TextExtractor
from vectorflow.adapters.tokenizers.words import WordTokenizer
from vectorflow.domain.documents import Attached, Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.ports.extractor import Extractor
from vectorflow.service.cut import Bounds, Cut, cut

CHUNKER = TokenChunker(WordTokenizer(), Chunking(chunker="tokens", size=5, overlap=0))


class Sections(TextExtractor):
    """Gives the sections it was made with, whatever it reads."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts

    def extract(self, source: BinaryIO) -> Iterator[Section]:
        del source
        start = 0
        for text in self.texts:
            yield Section(text=text, start=start)
            start += len(text)


def cuts(text: str, *, lines: int | None = None, chunks: int = 4096, at: int = 0) -> list[Cut]:
    bounds = Bounds(lines=lines, chunks=chunks)
    source = io.BytesIO(text.encode())
    return only_cuts(cut(TextExtractor().extract(source), CHUNKER, resume_at=at, bounds=bounds))


def only_cuts(found: Iterator[Cut | Attached]) -> list[Cut]:
    cuts = list(found)
    assert all(isinstance(one, Cut) for one in cuts)
    return [one for one in cuts if isinstance(one, Cut)]


def test_a_hundred_lines_at_ten_a_batch_are_ten_stretches() -> None:
    text = "".join(f"line {number} of the text\n" for number in range(100))

    found = cuts(text, lines=10)

    assert [one.last for one in found] == [False] * 9 + [True]
    assert [one.stretch.resume_at for one in found] == [
        sum(map(len, text.splitlines(keepends=True)[: 10 * count])) for count in range(1, 11)
    ]
    for one in found:
        lines = text[one.stretch.starts[0] : one.stretch.ends[-1]].splitlines()
        assert len(lines) == 10


def test_no_chunk_reaches_over_the_lines_of_its_batch() -> None:
    found = cuts("a b\nc d\ne f\n", lines=1)

    assert [one.stretch.texts for one in found] == [["a b"], ["c d"], ["e f"]]


def test_blank_lines_count_but_make_no_batch() -> None:
    found = cuts("a\n\n\n\nb\n", lines=2)

    assert [one.stretch.texts for one in found] == [["a"], ["b"]]


def test_without_a_bound_lines_do_not_matter() -> None:
    [one] = cuts("a\n" * 100)

    assert one.last
    assert len(one.stretch.texts) == 20


def test_a_stretch_holds_no_more_chunks_than_it_may_where_sections_end() -> None:
    sections = Sections(*["one two three\n"] * 6)
    found = only_cuts(cut(sections.extract(io.BytesIO(b"x")), CHUNKER, bounds=Bounds(chunks=2)))

    assert [len(one.stretch.texts) for one in found] == [2, 2, 2]


@given(
    texts=st.lists(st.text("ab \n", max_size=20), max_size=12),
    lines=st.integers(1, 5),
    skip=st.integers(0, 12),
)
def test_cutting_goes_on_where_it_stopped_as_if_it_had_not(
    texts: list[str], lines: int, skip: int
) -> None:
    whole = "".join(texts)
    bounds = Bounds(lines=lines)
    extractor = Sections(*texts)
    found = only_cuts(cut(extractor.extract(io.BytesIO(b"")), CHUNKER, bounds=bounds))
    if skip >= len(found):
        return
    at = found[skip].stretch.resume_at

    again = only_cuts(cut(extractor.extract(io.BytesIO(b"")), CHUNKER, resume_at=at, bounds=bounds))

    assert [one.stretch.texts for one in again if one.stretch.texts] == [
        one.stretch.texts for one in found[skip + 1 :]
    ]
    for one in found:
        for start, end, text in zip(
            one.stretch.starts, one.stretch.ends, one.stretch.texts, strict=True
        ):
            assert whole[start:end] == text


@given(text=st.text("ab \n", max_size=200), lines=st.integers(1, 7))
def test_every_batch_has_its_lines_at_most_and_nothing_is_lost(text: str, lines: int) -> None:
    found = cuts(text, lines=lines)

    words = [word for one in found for chunk in one.stretch.texts for word in chunk.split()]
    assert words == text.split()
    for one in found:
        covered = text[one.stretch.starts[0] : one.stretch.ends[-1]]
        assert covered.count("\n") < lines


class Mail(Extractor):
    """Gives files between and after its sections, and after the last one."""

    revision = 1
    suffixes = (".mail",)

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        del source
        yield Attached(name="first", data=b"1")
        yield Section(text="a b c\n", start=0)
        yield Attached(name="second", data=b"2")
        yield Section(text="d e f\n", start=6)
        yield Attached(name="last", data=b"3")


@pytest.mark.parametrize("resume_at", [0, 6])
@pytest.mark.parametrize("lines", [None, 1])
def test_what_is_attached_comes_before_the_last_stretch_also_of_what_is_skipped(
    resume_at: int, lines: int | None
) -> None:
    bounds = Bounds(chunks=1, lines=lines)
    found = list(cut(Mail().extract(io.BytesIO(b"")), CHUNKER, resume_at=resume_at, bounds=bounds))

    attached = [one.name for one in found if isinstance(one, Attached)]
    assert attached == ["first", "second", "last"]
    stretches = [one for one in found if isinstance(one, Cut)]
    assert [one.last for one in stretches] == [*[False] * (len(stretches) - 1), True]
    assert found[-1] is stretches[-1]
    texts = [text for one in stretches for text in one.stretch.texts]
    assert texts == (["a b c", "d e f"] if resume_at == 0 else ["d e f"])


@pytest.mark.parametrize("text", ["", "\n", "  \n \n"])
def test_a_text_of_white_space_has_no_stretch(text: str) -> None:
    assert cuts(text, lines=1) == []
