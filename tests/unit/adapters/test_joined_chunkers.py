"""The chunkers `recursive`, `lines` and `pages`."""

from vectorflow.adapters.chunkers.lines import LineChunker
from vectorflow.adapters.chunkers.pages import PageChunker
from vectorflow.adapters.chunkers.recursive import RecursiveChunker
from vectorflow.domain.documents import Section
from vectorflow.domain.pipelines import Chunking
from vectorflow.testing.chunkers import ByteTokenizer, MakeChunker, PieceTokenizer, chunks_of


def _cut(make: MakeChunker, text: str, size: int, overlap: int = 0) -> list[str]:
    chunker = make(PieceTokenizer(), Chunking(chunker="x", size=size, overlap=overlap))
    section = Section(text=text, start=0)
    return chunks_of(section, chunker.chunk(section))


def test_paragraphs_are_joined_as_long_as_they_fit() -> None:
    text = "\n\n".join(f"p{n} two\nand tri" for n in range(5))

    assert _cut(RecursiveChunker, text, 8) == [
        "p0 two\nand tri\n\np1 two\nand tri",
        "p2 two\nand tri\n\np3 two\nand tri",
        "p4 two\nand tri",
    ]


def test_a_paragraph_that_does_not_fit_is_cut_into_lines() -> None:
    text = "a b c\n\nd e f\ng h i\nj k l\nm n o\n\np q r"

    assert _cut(RecursiveChunker, text, 7) == ["a b c", "d e f\ng h i", "j k l\nm n o", "p q r"]


def test_a_line_that_does_not_fit_is_cut_into_sentences_then_words_then_tokens() -> None:
    text = "Ab cd. Ef gh ij. " + " ".join(f"W{n}" for n in range(7)) + " " + "x" * 30

    assert _cut(RecursiveChunker, text, 5) == [
        "Ab cd.",
        "Ef gh ij.",
        "W0 W1 W2 W3 W4",
        "W5 W6",
        "x" * 20,
        "x" * 10,
    ]


def test_a_short_part_does_not_stand_alone_before_one_that_is_cut_anyway() -> None:
    text = "Title\n\n" + " ".join(f"w{n}" for n in range(20))

    assert _cut(RecursiveChunker, text, 12)[0] == "Title\n\nw0 w1 w2 w3 w4 w5 w6 w7 w8 w9"
    assert _cut(RecursiveChunker, text, 20)[0] == "Title"


def test_a_chunk_begins_with_whole_parts_of_the_one_before() -> None:
    text = "\n".join(f"line number {n}" for n in range(9))

    chunks = _cut(RecursiveChunker, text, 17, 5)

    assert chunks[0].splitlines()[-1] == chunks[1].splitlines()[0] == "line number 3"
    assert {line for chunk in chunks for line in chunk.splitlines()} == set(text.splitlines())


def test_words_come_again_where_no_whole_line_or_sentence_fits() -> None:
    text = " ".join(f"w{n}" for n in range(25))

    chunks = _cut(RecursiveChunker, text, 10, 3)

    assert chunks[1].split()[:3] == chunks[0].split()[-3:] == ["w7", "w8", "w9"]


def test_a_part_that_has_one_token_more_than_the_overlap_does_not_come_again() -> None:
    text = "é。" * 40  # two tokens and three; an overlap of four begins inside of the first
    chunking = Chunking(chunker="x", size=10, overlap=4)

    spans = RecursiveChunker(ByteTokenizer(), chunking).chunk(Section(text=text, start=0))

    assert len(spans.starts) == 20
    assert spans.starts[1:].tolist() == spans.ends[:-1].tolist()


def test_lines_are_joined_as_long_as_they_fit() -> None:
    text = "".join(f"line number {n}.\n\n" for n in range(7))

    chunks = _cut(LineChunker, text, 15)

    assert [chunk.split("\n\n") for chunk in chunks] == [
        [f"line number {n}." for n in range(at, min(7, at + 3))] for at in (0, 3, 6)
    ]


def test_a_line_stays_whole_however_little_comes_before_it() -> None:
    text = "a\n" + "w " * 9 + "\nb"

    assert _cut(LineChunker, text, 9) == ["a", ("w " * 9).strip(), "b"]


def test_only_whole_lines_come_again() -> None:
    text = "\n".join(f"{n} two. Tri four" for n in range(9))

    chunks = _cut(LineChunker, text, 16, 6)

    assert all(line in text.splitlines() for chunk in chunks for line in chunk.splitlines())
    assert chunks[1].splitlines()[0] == chunks[0].splitlines()[-1]
    assert _cut(LineChunker, text, 16, 4)[1].splitlines()[0] == "3 two. Tri four"


def test_a_page_is_one_chunk_and_windows_where_it_does_not_fit() -> None:
    text = "First. Second\n\nthird\nfourth. " + " ".join(f"w{n}" for n in range(8))

    assert _cut(PageChunker, text, 30) == [text]
    assert len(_cut(PageChunker, text, 10, 2)) == 2
