"""What comes out of files that real programs wrote."""

import io
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.extracted import outline_of, sections_of, tables_of
from vectorflow.adapters.extractors.doc import DocExtractor
from vectorflow.adapters.extractors.docx import DocxExtractor
from vectorflow.adapters.extractors.epub import EpubExtractor
from vectorflow.adapters.extractors.odt import OdtExtractor
from vectorflow.adapters.extractors.pptx import PptxExtractor
from vectorflow.adapters.extractors.rtf import RtfExtractor
from vectorflow.domain.documents import Section
from vectorflow.errors import BrokenFile, DocumentFailed, EncryptedFile
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import SUITES

FILES = Path(__file__).parents[2] / "files"
EXTRACTORS: dict[str, type[Extractor]] = {
    "doc": DocExtractor,
    "docx": DocxExtractor,
    "epub": EpubExtractor,
    "odt": OdtExtractor,
    "pptx": PptxExtractor,
    "rtf": RtfExtractor,
}
NAMES = [f"{kind}/{path.name}" for kind in EXTRACTORS for path in sorted((FILES / kind).glob("*"))]
READABLE = [name for name in NAMES if "encrypted" not in name]
LOOMS = [name for name in READABLE if "word" not in name and "powerpoint" not in name]
SIZES = [["Loom", "Width", "Threads"], ["Jacquard", "120", "400"], ["Dobby", "90", "24"]]


def extractor_of(name: str) -> Extractor:
    return EXTRACTORS[name.partition("/")[0]]()


def read(name: str) -> list[Section]:
    return sections_of(extractor_of(name), (FILES / name).read_bytes())


def text(name: str) -> str:
    return "".join(section.text for section in read(name))


def test_every_kind_has_files_of_two_programs() -> None:
    assert {name.partition("/")[0] for name in READABLE} == {*EXTRACTORS}
    assert len(READABLE) >= 2 * len(EXTRACTORS)


@pytest.mark.parametrize("name", [name for name in LOOMS if "pptx" not in name])
def test_whoever_wrote_it_the_same_text_comes_out(name: str) -> None:
    sections = read(name)

    paths = [tuple(title for title in path if "Lyon" not in title) for path in outline_of(sections)]
    assert [path for path in paths if path] == [
        ("Looms",),
        ("Looms", "Parts of a loom"),
        ("Looms", "Sizes"),
        ("Cards",),
    ]
    assert tables_of(sections) == [SIZES]
    whole = "".join(section.text for section in sections)
    assert "See the museum for more." in whole
    assert "for card in cards:\n    loom.weave(card)\n" in whole
    assert whole.count("Its pattern comes from punched cards.") == 1
    assert whole.count("The looms of Lyon\n") == whole.count("Ada Lovelace\n") == 1
    assert "Überschuss, naïveté, Ελληνικά, 日本語 and an emoji 😀.\n" in whole
    assert "HYPERLINK" not in whole


@pytest.mark.parametrize("name", [name for name in LOOMS if name != "rtf/pandoc.rtf"])
def test_whoever_wrote_it_says_its_title_and_author(name: str) -> None:
    properties = read(name)[0].properties

    assert properties["title"] == "The looms of Lyon"
    assert properties["author"] == "Ada Lovelace"


@pytest.mark.parametrize(
    "name",
    ["docx/pandoc.docx", "docx/libreoffice.docx", "odt/libreoffice.odt", "rtf/libreoffice.rtf"],
)
def test_lists_have_the_labels_that_a_reader_sees(name: str) -> None:
    assert (
        "1. The frame\n2. The warp\n  a. long threads\n  b. kept tight\n3. The weft\n"
        "- shuttle\n- heddle\n  - made of wire\n"
    ) in text(name)


def test_a_footnote_stands_below_its_paragraph() -> None:
    assert (
        "out of thread.[^1] See the museum for more.\n\n"
        "[^1]: Its pattern comes from punched cards.\n"
    ) in text("docx/pandoc.docx")


def test_merged_cells_of_word_are_filled() -> None:
    assert tables_of(read("docx/word-merged-cells.docx")) == [
        [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"]],
        [["1", "2", "3"], ["4", "4", "6"], ["7", "8", "9"]],
        [["1", "2", "3"], ["4", "5", "6"], ["7", "5", "9"]],
        [["1", "2", "3"], ["4", "4", "6"], ["4", "4", "9"]],
    ]


def test_headers_and_footers_of_word_come_once() -> None:
    assert text("docx/word-headers.docx") == (
        "Header for section-1\n\nsection with header\n\nsection without header of its own.\n\n"
        "Footer for section 1\n\n"
    )


def test_a_binary_document_of_word_is_read() -> None:
    assert text("doc/word.doc") == "Test OLE file, saved as Word 97-2003 Document.\n\n"


def test_slides_of_pandoc_have_pages_titles_lists_tables_and_notes() -> None:
    sections = read("pptx/pandoc.pptx")

    assert [(one.page, one.headings) for one in sections] == [
        (1, ("The looms of Lyon",)),
        (2, ("Looms",)),
        (2, ("Looms", "Notes")),
        (3, ("Sizes",)),
        (3, ("Sizes",)),
    ]
    assert sections[1].text == "# Looms\n\n- frame\n- warp\n  - long threads\n\n"
    assert sections[2].text == "## Notes\n\nSpeak slowly here.\n\n"
    assert tables_of(sections) == [[["Loom", "Width"], ["Jacquard", "120"], ["Dobby", "90"]]]


def test_charts_of_powerpoint_give_their_values() -> None:
    assert tables_of(read("pptx/powerpoint-charts.pptx")) == [
        [
            ["", "Series 1", "Series 2", "Series 3"],
            ["Category 1", "4.3", "2.4", "2"],
            ["Category 2", "2.5", "4.4", "2"],
            ["Category 3", "3.5", "1.8", "3"],
            ["Category 4", "4.5", "2.8", "5"],
        ]
    ]


def test_merged_cells_and_notes_of_powerpoint() -> None:
    assert tables_of(read("pptx/powerpoint-merged-cells.pptx"))[-1] == [
        ["a", "b", "c"],
        ["d", "e", "f"],
        ["g", "h", "i"],
    ]
    assert text("pptx/powerpoint-notes.pptx") == "# Slide 1\n\n## Notes\n\nNotes\n\n"


def test_an_encrypted_document_is_told() -> None:
    with pytest.raises(EncryptedFile) as caught:
        read("docx/encrypted.docx")

    assert "password" in caught.value.fix


@given(data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=SUITES)
def test_damage_fails_the_document_or_gives_what_obeys_the_laws(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(READABLE))
    damaged = bytearray((FILES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(DocumentFailed):
        sections_of(extractor_of(name), bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))


@pytest.mark.parametrize("name", [name for name in READABLE if not name.startswith("doc/")])
def test_no_part_of_an_archive_or_a_group_may_be_missing(name: str) -> None:
    data = (FILES / name).read_bytes()

    with pytest.raises(BrokenFile):
        list(extractor_of(name).extract(io.BytesIO(data[: len(data) // 2])))
