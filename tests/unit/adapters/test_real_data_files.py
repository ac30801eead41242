from pathlib import Path

from vectorflow.adapters.extractors.csv import CsvExtractor
from vectorflow.adapters.extractors.html import HtmlExtractor
from vectorflow.adapters.extractors.ipynb import NotebookExtractor
from vectorflow.adapters.extractors.xls import XlsExtractor
from vectorflow.adapters.extractors.xlsx import XlsxExtractor
from vectorflow.adapters.extractors.xml import XmlExtractor
from vectorflow.domain.documents import Attached, Section, SectionKind
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.extractors import check_sections

FILES = Path(__file__).parents[2] / "files"


def _sections(extractor: Extractor, name: str) -> list[Section]:
    with (FILES / name).open("rb") as source:
        pieces = list(extractor.extract(source))
    sections = [piece for piece in pieces if not isinstance(piece, Attached)]
    check_sections(sections)
    return sections


def test_a_page_of_a_manual() -> None:
    menu, page = _sections(HtmlExtractor(), "html/libffi-the-basics.html")

    assert menu.text == "Next: Simple Example, Up: Using libffi [Index]\n\n"
    assert page.headings == ("2.1 The Basics",)
    assert page.text.startswith(
        "### 2.1 The Basics\n\nlibffi assumes that you have a pointer to the function you wish to "
        "call and that you know the number and types of arguments to pass it"
    )
    assert page.properties["title"].startswith("The Basics (libffi")


def test_a_notebook() -> None:
    sections = _sections(NotebookExtractor(), "ipynb/density-relevance.ipynb")

    assert [section.headings[-1] for section in sections][:4] == [
        "Density based retrieval relevance",
        "Preliminaries",
        "Dataset",
        "Data loading",
    ]
    assert "```python\n# Install required packages\n\nimport sys\n" in sections[1].text
    assert not any("iVBOR" in section.text for section in sections)


def test_an_old_workbook() -> None:
    _, table = _sections(XlsExtractor(), "xls/xlwt_easyxf_simple_demo.xls")

    assert table.headings == ("Demo",)
    assert table.text.splitlines()[0] == (
        "| Date | Stock Code | Quantity | Unit Price | Value | Message |"
    )
    assert "| 2007-12-31 | XYZ | -100 | 4.654321 | -465.43 | Goods returned |\n" in table.text


def test_an_old_workbook_with_merged_cells_dates_and_a_hidden_sheet() -> None:
    sections = _sections(XlsExtractor(), "xls/sample.xls")

    assert [(one.headings, one.text) for one in sections] == [
        (("Tide table",), "# Tide table\n\nTides at the light, 2024\n\n"),
        (
            ("Tide table",),
            (
                "| Day | High water | Height in m | Seen |\n| --- | --- | --- | --- |\n"
                "| 2024-02-29 | 04:12:00 | 3.1 | TRUE |\n| 2024-02-29 | 16:40:00 | 2 | FALSE |\n"
                "| 2024-03-01 | 04:55:00 | 0.3 | Möwe \\| “gull” and fog |\n\n"
            ),
        ),
        (("Keepers",), "# Keepers\n\n"),
        (("Keepers",), "| name | since |\n| --- | --- |\n| Jørgen | 1987 |\n\n"),
        (("Empty",), "# Empty\n\n"),
    ]


def test_a_new_workbook() -> None:
    _, table = _sections(XlsxExtractor(), "xlsx/embedded.xlsx")

    assert table.text == "| column 1 |\n| --- |\n| 1 |\n| 2 |\n| 3 |\n\n"
    assert table.properties["author"] == "Steve Canny"


def test_metadata_in_xml() -> None:
    sections = _sections(XmlExtractor(), "xml/appstream-cli.metainfo.xml")
    text = "".join(section.text for section in sections)

    assert text.startswith(
        "component:\ntype: console-application\nid: org.freedesktop.appstream.cli\n"
        "name: AppStream CLI\n"
    )
    assert "project_license: LGPL-2.1+" in text


def test_numbers_in_csv() -> None:
    (table,) = _sections(CsvExtractor(), "csv/philox.csv")

    assert table.kind is SectionKind.TABLE
    assert table.text.splitlines()[2] == "| 0 | 0xedc95200e2bd66a5 |"
