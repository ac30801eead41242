import io

import pytest

from tests.xlsx_files import cell, row, sheet, workbook
from vectorflow.adapters.extractors.xls import XlsExtractor
from vectorflow.adapters.extractors.xlsx import XlsxExtractor
from vectorflow.domain.documents import Section, SectionKind
from vectorflow.errors import BrokenFile, LimitExceeded


def _sections(
    data: bytes, kind: type[XlsExtractor | XlsxExtractor] = XlsxExtractor
) -> list[Section]:
    return list(kind().extract(io.BytesIO(data)))


def _table(*rows: str, merged: tuple[str, ...] = (), dimension: str = "A1") -> str:
    """Give what comes of a sheet, without the heading and the rule below the header."""
    book = workbook({"S": sheet(*rows, merged=merged, dimension=dimension)})
    text = "".join(section.text for section in _sections(book)).removeprefix("# S\n\n")
    return "\n".join(line for line in text.splitlines() if line and "---" not in line)


def test_each_sheet_is_a_heading_and_a_table() -> None:
    one = sheet(
        row(1, cell("A1", "Fruit"), cell("B1", "Price")), row(2, cell("A2", "pear"), cell("B2", 3))
    )
    two = sheet(row(1, cell("A1", "x")))

    sections = _sections(
        workbook({"Prices": one, "Empty": sheet(), "Lists": two}, hidden=frozenset({"Lists"}))
    )

    assert [(one.headings, one.kind, one.text) for one in sections] == [
        (("Prices",), SectionKind.TEXT, "# Prices\n\n"),
        (("Prices",), SectionKind.TABLE, "| Fruit | Price |\n| --- | --- |\n| pear | 3 |\n\n"),
        (("Empty",), SectionKind.TEXT, "# Empty\n\n"),
        (("Lists",), SectionKind.TEXT, "# Lists\n\n"),
        (("Lists",), SectionKind.TABLE, "| x |\n| --- |\n\n"),
    ]
    assert sections[0].properties == {
        "title": "Prices",
        "author": "Ada",
        "created": "2024-02-29T10:00:00Z",
    }


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (cell("B2", 1.0), "1"),
        (cell("B2", 0.1 + 0.2), "0.3"),
        (cell("B2", 12345678901234.5), "12345678901234.5"),
        (cell("B2", 9007199254740991), "9007199254740991"),
        (cell("B2", 1e300), "1e+300"),
        (cell("B2", -2.50), "-2.5"),
        (cell("B2", 45351, style=1), "2024-02-29"),
        (cell("B2", 45351.5, style=2), "2024-02-29 12:00:00"),
        (cell("B2", 1.5, style=3), "36:00:00"),
        (cell("B2", 1, kind="b"), "TRUE"),
        (cell("B2", 0, kind="b"), "FALSE"),
        (cell("B2", "#DIV/0!", kind="e"), ""),
        ('<c r="B2"><f>1+1</f><v>2</v></c>', "2"),
        ('<c r="B2" t="str"><f>A1&amp;"x"</f><v>ax</v></c>', "ax"),
        (cell("B2", "two\nlines | bar"), "two lines \\| bar"),
    ],
)
def test_values_are_written_as_people_see_them(written: str, text: str) -> None:
    table = _table(
        row(1, cell("A1", "name"), cell("B1", "value")), row(2, cell("A2", "v"), written)
    )

    assert table == f"| name | value |\n| v | {text} |"


def test_empty_rows_and_columns_around_are_left_out() -> None:
    table = _table(row(5, cell("C5", "a"), cell("E5", "b")), row(9, cell("C9", 1), cell("E9", 2)))

    assert table == "| a |  | b |\n| 1 |  | 2 |"


def test_a_title_above_the_table_is_text() -> None:
    table = _table(
        row(1, cell("A1", "Prices of 2024")),
        *(row(n, cell(f"A{n}", f"n{n}"), cell(f"B{n}", "x")) for n in range(3, 7)),
    )

    assert table.startswith("Prices of 2024\n| n3 | x |\n| n4 | x |")


def test_a_cell_merged_with_those_below_is_in_each_of_their_rows() -> None:
    table = _table(
        row(1, cell("A1", "city"), cell("B1", "year"), cell("C1", "of")),
        row(2, cell("A2", "Bonn"), cell("B2", 2023), cell("C2", "wide")),
        row(3, cell("B3", 2024)),
        row(4, cell("A4", "Köln"), cell("B4", 2024)),
        merged=("A2:A3", "C2:D2"),
    )

    assert table.splitlines()[1:] == [
        "| Bonn | 2023 | wide |",
        "| Bonn | 2024 |  |",
        "| Köln | 2024 |  |",
    ]


def test_a_long_merged_cell_is_written_once() -> None:
    table = _table(
        row(1, cell("A1", "city"), cell("B1", "year")),
        row(2, cell("A2", "word " * 300), cell("B2", 2023)),
        row(3, cell("B3", 2024)),
        merged=("A2:A3",),
    )

    assert table.count("word") == 300
    assert table.splitlines()[2] == "|  | 2024 |"


def test_a_sheet_declared_far_larger_than_it_is_costs_nothing() -> None:
    empty = "".join(f'<row r="{n}" s="1"><c r="A{n}" s="1"/></row>' for n in range(3, 20_000))

    table = _table(row(1, cell("A1", "a")), empty, dimension="A1:XFD1048576")

    assert table == "| a |"


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04 cut off",
        b"no workbook",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        workbook({"S": "<no xml"}),
        workbook({"S": sheet()})[:-200],
    ],
    ids=["cut", "text", "OLE", "sheet", "directory"],
)
@pytest.mark.parametrize("kind", [XlsxExtractor, XlsExtractor])
def test_what_is_no_workbook_is_refused(
    data: bytes, kind: type[XlsExtractor | XlsxExtractor]
) -> None:
    with pytest.raises(BrokenFile):
        _sections(data, kind)


def test_a_bomb_is_refused() -> None:
    book = workbook({"S": sheet(row(1, cell("A1", "x" * 70_000_000)))})

    with pytest.raises(LimitExceeded) as caught:
        _sections(book)
    assert caught.value.limit == "ratio"
