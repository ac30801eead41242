from itertools import pairwise

import pytest

from vectorflow.adapters._markdown_cuts import outline
from vectorflow.adapters.chunkers.markdown import MarkdownChunker
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.testing.chunkers import PieceTokenizer, chunks_of

WORDS = " ".join(f"w{n}" for n in range(12)) + "."
FENCE = "```python\nx = 1\n\ny = 2\n```"
TABLE = "| a | b |\n| --- | --- |\n" + "\n".join(f"| {n} | c |" for n in range(4))
LIST = "- one\n- two\n\n  more of two\n- tri\n1. four"


def _cut(text: str, size: int, overlap: int = 0) -> list[str]:
    chunker = MarkdownChunker(PieceTokenizer(), Chunking(chunker="x", size=size, overlap=overlap))
    section = Section(text=text, start=0)
    return chunks_of(section, chunker.chunk(section))


def _blocks(text: str) -> list[str]:
    return [text[at:].partition("\n")[0] for at in outline(text).blocks]


def _items(text: str) -> list[str]:
    return [text[at:].partition("\n")[0] for at in outline(text).items]


@pytest.mark.parametrize("block", [FENCE, TABLE, LIST], ids=["fence", "table", "list"])
def test_a_block_stays_whole_where_it_fits(block: str) -> None:
    words = " ".join(f"w{n}" for n in range(30))
    text = f"{words}\n\n{block}\n\n{words}"

    assert _cut(text, 40) == [words, block, words]
    assert _cut(text, 400) == [text]


def test_a_heading_stays_with_what_follows_it() -> None:
    text = f"{WORDS}\n\n## A title\n\n### Another\n\n{WORDS}"

    assert _cut(text, 24) == [WORDS, f"## A title\n\n### Another\n\n{WORDS}"]


def test_a_table_that_does_not_fit_is_cut_between_rows() -> None:
    chunks = _cut(TABLE, 24)

    assert [line for chunk in chunks for line in chunk.splitlines()] == TABLE.splitlines()
    assert len(chunks) > 1


def test_a_list_that_does_not_fit_is_cut_between_items() -> None:
    text = "\n".join(f"- item {n} of\n  the list" for n in range(9))

    chunks = _cut(text, 26)

    assert len(chunks) > 2
    assert all(chunk.startswith("- item") and chunk.endswith("list") for chunk in chunks)


def test_code_that_does_not_fit_is_cut_between_lines() -> None:
    text = "```\n" + "\n".join(f"call({n}) # w w w" for n in range(9)) + "\n```"

    chunks = _cut(text, 26)

    assert [line for chunk in chunks for line in chunk.splitlines()] == text.splitlines()


def test_a_paragraph_that_does_not_fit_is_cut_between_sentences() -> None:
    text = " ".join(f"Sentence {n}\nis here." for n in range(9))

    chunks = _cut(text, 20)

    assert all(chunk.startswith("Sentence") and chunk.endswith("here.") for chunk in chunks)


def test_blocks_begin_where_readers_see_them_begin() -> None:
    text = f"Text\nof it\n# Title\nUnder it\n- a\n- b\n| t |\n{FENCE}\nafter\n\n    code\n\nEnd"

    assert _blocks(text) == [
        "Text", "# Title", "- a", "| t |", "```python", "after", "    code", "End",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (LIST, ["- two", "- tri", "1. four"]),
        (TABLE, TABLE.splitlines()[1:]),
        (FENCE, ["x = 1", "", "y = 2", "```"]),
        ("~~~\n```\n~~~\n- a\n- b", ["```", "~~~", "- b"]),
        ("- a\n\n  - b\n\n    text\n\nnew\n- c", ["  - b"]),
    ],
)
def test_items_are_what_blocks_are_made_of(text: str, items: list[str]) -> None:
    assert _items(text) == items


def test_a_fence_that_is_never_closed_goes_on_to_the_end() -> None:
    assert _blocks("```\na\n\n# b\n\nc") == ["```"]


def test_whole_sentences_or_items_come_again() -> None:
    text = "\n".join(f"- item {n}" for n in range(20))

    chunks = _cut(text, 24, 6)

    assert all(chunk.startswith("- item") for chunk in chunks)
    assert len(chunks) > 2
    assert all(b.splitlines()[0] in a.splitlines()[1:] for a, b in pairwise(chunks))
