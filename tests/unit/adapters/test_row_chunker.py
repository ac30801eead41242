import numpy as np

from vectorflow.adapters.chunkers.default import DefaultChunker
from vectorflow.adapters.chunkers.markdown import MarkdownChunker
from vectorflow.adapters.chunkers.recursive import RecursiveChunker
from vectorflow.adapters.chunkers.rows import RowChunker
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.domain.pipelines import Chunking
from vectorflow.testing.chunkers import MakeChunker, PieceTokenizer, chunks_of

HEADER = "| no | word |\n| --- | --- |\n"
ROWS = [f"| {n} | w{n} |\n" for n in range(30)]


def _cut(section: Section, size: int, make: MakeChunker = RowChunker) -> list[str]:
    chunker = make(PieceTokenizer(), Chunking(chunker="rows", size=size, overlap=size // 8))
    return chunks_of(section, chunker.chunk(section))


def _table(text: str, header: str = HEADER) -> Section:
    return Section(text=text, start=0, kind=SectionKind.TABLE, header=header)


def test_every_chunk_has_the_header_and_whole_rows() -> None:
    chunks = _cut(_table(HEADER + "".join(ROWS)), 40)

    assert len(chunks) > 3
    assert all(chunk.startswith(HEADER) for chunk in chunks)
    rows = [line + "\n" for chunk in chunks for line in chunk.removeprefix(HEADER).splitlines()]
    assert rows == ROWS


def test_a_further_section_of_a_table_has_the_header_from_its_first_chunk_on() -> None:
    chunks = _cut(_table("".join(ROWS)), 40)

    assert all(chunk.startswith(HEADER + "| ") for chunk in chunks)
    assert "".join(chunk.removeprefix(HEADER) + "\n" for chunk in chunks) == "".join(ROWS)


def test_a_table_that_fits_is_one_chunk_as_it_is() -> None:
    text = HEADER + "".join(ROWS[:2])

    assert _cut(_table(text), 90) == [text.rstrip()]


def test_tokens_of_the_header_are_counted() -> None:
    section = _table("".join(ROWS))
    tokenizer = PieceTokenizer()
    chunker = RowChunker(tokenizer, Chunking(chunker="rows", size=40, overlap=0))

    spans = chunker.chunk(section)

    assert spans.repeats is not None
    assert spans.repeats.all()
    assert spans.repeats.dtype == np.bool_
    counts = [len(tokenizer.offsets(chunk).starts) for chunk in chunks_of(section, spans)]
    assert spans.tokens.tolist() == counts
    assert max(counts) <= 40 < min(counts[:-1]) + len(tokenizer.offsets(ROWS[-1]).starts)


def test_a_header_of_more_than_half_a_chunk_comes_once() -> None:
    long = "| " + " | ".join(f"a very long name {n}" for n in range(6)) + " |\n"
    section = _table(long + "".join(ROWS), long)

    chunks = _cut(section, 40)

    assert "".join(chunks).count("name 5") == 1
    assert all("very" not in chunk for chunk in chunks[2:])


def test_a_header_is_never_a_chunk_of_its_own() -> None:
    row = "| 1 | " + "word " * 60 + "|\n"

    chunks = _cut(_table(HEADER + row), 40)

    assert len(chunks) > 2
    assert all(chunk.removeprefix(HEADER.rstrip()) for chunk in chunks)


def test_a_row_that_does_not_fit_is_cut_between_words_each_part_below_the_header() -> None:
    row = "| 1 | " + " ".join(f"v{n}" for n in range(80)) + " |\n"

    chunks = _cut(_table("".join(ROWS[:3]) + row + ROWS[3]), 40)

    assert all(chunk.startswith(HEADER) for chunk in chunks)
    words = " ".join(chunk.removeprefix(HEADER) for chunk in chunks).split()
    assert words == ("".join(ROWS[:3]) + row + ROWS[3]).split()


def test_text_has_rows_too_where_this_chunker_is_asked_for() -> None:
    text = "".join(f"{n};some;value\n" for n in range(20))

    chunks = _cut(Section(text=text, start=0), 24)

    assert [line for chunk in chunks for line in chunk.splitlines()] == text.splitlines()
    assert len(chunks) > 3


def test_chunkers_of_text_cut_tables_so_too() -> None:
    section = _table(HEADER + "".join(ROWS))
    expected = _cut(section, 40)

    assert _cut(section, 40, DefaultChunker) == expected
    assert _cut(section, 40, RecursiveChunker) == expected
    assert _cut(section, 40, MarkdownChunker) == expected
