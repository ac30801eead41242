# ruff: noqa: E501 - documents are told apart best in one line
import io

import pytest

from vectorflow.adapters.extractors.csv import CsvExtractor, TsvExtractor
from vectorflow.domain.documents import MAX_SECTION, Section, SectionKind
from vectorflow.errors import BinaryContent
from vectorflow.testing.extractors import check_sections


def _sections(
    text: str | bytes, kind: type[CsvExtractor | TsvExtractor] = CsvExtractor
) -> list[Section]:
    data = text.encode() if isinstance(text, str) else text
    sections = list(kind().extract(io.BytesIO(data)))
    check_sections(sections)
    return sections


def _rows(text: str | bytes, kind: type[CsvExtractor | TsvExtractor] = CsvExtractor) -> list[str]:
    """Give the lines of the table, the rule below the header left out."""
    lines = "".join(section.text for section in _sections(text, kind)).splitlines()
    return [line for line in lines if line and "---" not in line]


ROWS = ["| name | note |", "| Ada | a, b |", "| Bob |  |", "| Eve | c |"]


@pytest.mark.parametrize(
    "text",
    [
        'name,note\nAda,"a, b"\nBob,\nEve,c\n',
        'name,note\r\nAda,"a, b"\r\nBob,\r\nEve,c',
        'name,note\rAda,"a, b"\rBob,\rEve,c\r',
        "name;note\nAda;a, b\nBob;\nEve;c\n",
        "name\tnote\nAda\ta, b\nBob\t\nEve\tc\n",
        "name|note\nAda|a, b\nBob|\nEve|c\n",
        '"name","note"\n"Ada","a, b"\n"Bob",""\n"Eve","c"\n',
        "'name','note'\n'Ada','a, b'\n'Bob',''\n'Eve','c'\n",
        "sep=;\nname;note\nAda;a, b\nBob;\nEve;c\n",
        '\n\nname,note\n,\nAda,"a, b"\nBob,\n\nEve,c\n\n',
        '\ufeffname,note\nAda,"a, b"\nBob,\nEve,c\n',
    ],
)  # fmt: skip
def test_the_dialect_is_found_by_the_first_lines(text: str) -> None:
    assert _rows(text) == ROWS
    assert _sections(text)[0].header == "| name | note |\n| --- | --- |\n"
    assert {section.kind for section in _sections(text)} == {SectionKind.TABLE}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b\n"x\ny",1\n', ["| a | b |", "| x y | 1 |"]),
        ('a,b\n"he said ""no""",1\n', ["| a | b |", '| he said "no" | 1 |']),
        ('a,b\n"he said \\"no, no\\"",1\n', ["| a | b |", '| he said "no, no" | 1 |']),
        ('a,b\n5" pipe,1\n6" pipe,2\n7" pipe,3\n', ["| a | b |", '| 5" pipe | 1 |', '| 6" pipe | 2 |', '| 7" pipe | 3 |']),
        ("a,b\n1\n1,2,3\n", ["| a | b |", "| 1 |", "| 1 | 2 | 3 |"]),
        ("a;b\n1,5;2,5\n3,5;4,5\n", ["| a | b |", "| 1,5 | 2,5 |", "| 3,5 | 4,5 |"]),
        ("word\nother\n", ["| word |", "| other |"]),
        ("a,b\nx|y,  two  spaces \n", ["| a | b |", "| x\\|y | two spaces |"]),
        ('a,b\n"never closed,1\nx,2\n', ["| a | b |", "| never closed,1 x,2 |"]),
    ],
)  # fmt: skip
def test_values_come_as_they_were_meant(text: str, rows: list[str]) -> None:
    assert _rows(text) == rows


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("name,age", "| name | age |"),
        ("Country,2019,2020", "| Country | 2019 | 2020 |"),
        (",1,2,3", "|  | 1 | 2 | 3 |"),
        ("Ada,36", "| column 1 | column 2 |"),
        ("2024-01-01,x", "| column 1 | column 2 |"),
        ("1,5.5,x", "| column 1 | column 2 | column 3 |"),
    ],
)
def test_a_first_row_of_values_is_no_header(first: str, header: str) -> None:
    assert _rows(f"{first}\nBob,17\n")[0] == header


def test_lines_above_the_table_are_text() -> None:
    sections = _sections("Report of 2024\nby the council\n\nname,age\nAda,36\nBob,17\nEve,20\n")

    assert [section.text for section in sections] == [
        "Report of 2024\n\nby the council\n\n",
        "| name | age |\n| --- | --- |\n| Ada | 36 |\n| Bob | 17 |\n| Eve | 20 |\n\n",
    ]


def test_in_tsv_commas_part_nothing() -> None:
    assert _rows("a, x\tb\n1, 2\t3\n", TsvExtractor) == ["| a, x | b |", "| 1, 2 | 3 |"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_told_apart(encoding: str) -> None:
    text = "name;place\nJosé;Köln\n" + "Ann;Bonn\n" * 50

    assert _rows(text.encode(encoding))[1] == "| José | Köln |"


def test_a_nul_is_refused() -> None:
    with pytest.raises(BinaryContent, match="byte 5"):
        _sections(b"a,b\n1\0,2\n")


@pytest.mark.parametrize("unit", ["x", "x,", '"', '""', "'", '","', " ", "|", "\\", '\\"', "é"])
def test_a_line_without_end_comes_in_bounded_rows(unit: str) -> None:
    text = "a,b\n1,2\n" + unit * (2_000_000 // len(unit))

    sections = _sections(text)

    assert max(len(section.text) for section in sections) <= MAX_SECTION


def test_a_quote_that_is_never_closed_spoils_no_more_than_what_could_be_one_row() -> None:
    text = 'a,b\n"open,1\n' + "".join(f"name {number},{number}\n" for number in range(40_000))

    rows = _rows(text)

    assert "| name 39999 | 39999 |" in rows
    assert len(rows) > 30_000


class _Endless(io.RawIOBase):
    """A source that never ends, and counts what was read of it."""

    def __init__(self, unit: bytes) -> None:
        self._unit = unit
        self.given = 0

    def read(self, size: int = -1, /) -> bytes:
        assert size > 0, "a source must not be read whole"
        self.given += size
        return (self._unit * (size // len(self._unit) + 1))[:size]


@pytest.mark.parametrize("unit", [b"name,12\n", b'"a ""b"" c",2\n', b"x", b'"'])
def test_the_first_rows_come_while_the_rest_is_still_to_be_read(unit: bytes) -> None:
    source = _Endless(unit)

    sections = CsvExtractor().extract(source)
    first = [next(sections) for _ in range(3)]

    assert len(first) == 3
    assert source.given < 2_000_000


@pytest.mark.parametrize("digits", [10, 5000])
def test_long_numbers_in_the_first_row_are_values_and_no_names(digits: int) -> None:
    number = "7" * digits

    assert _rows(f"{number},{number}\nx,1\n") == [
        "| column 1 | column 2 |",
        f"| {number} | {number} |",
        "| x | 1 |",
    ]
