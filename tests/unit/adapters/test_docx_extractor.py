import io

import pytest

from tests.extracted import outline_of, sections_of, tables_of, text_of
from tests.office_files import OLE, W, archive, cell, docx, item, paragraph, relations, run, table
from vectorflow.adapters.extractors.docx import DocxExtractor
from vectorflow.errors import BrokenFile

SHOWN = '<w:vanish w:val="0"/>'
SEEN = "<w:p><w:r><w:t>Seen</w:t></w:r></w:p>"


def _text(body: str, **parts: str) -> str:
    return text_of(DocxExtractor(), docx(body, parts))


def test_headings_are_known_in_any_language_of_word_and_by_what_they_are_based_on() -> None:
    body = (
        paragraph("Engines", "Titel")
        + paragraph("Ada Lovelace", "Autor")
        + paragraph("Looms", "berschrift1")
        + paragraph("About looms.")
        + paragraph("Cards", "Eigene")
        + paragraph("About cards.")
        + paragraph("Outlined", properties='<w:outlineLvl w:val="0"/>')
        + paragraph("About more.")
    )

    sections = sections_of(DocxExtractor(), docx(body))

    assert outline_of(sections) == [
        ("Engines",),
        ("Engines", "Looms"),
        ("Engines", "Looms", "Cards"),
        ("Engines", "Outlined"),
    ]
    assert sections[2].text == "### Cards\n\nAbout cards.\n\n"


def test_a_paragraph_that_only_looks_like_a_heading_is_text() -> None:
    sections = sections_of(DocxExtractor(), docx(paragraph("Long. " * 100, "berschrift1")))

    assert sections[0].headings == ()


def test_labels_are_counted_as_word_does() -> None:
    body = (
        item("one", 2)
        + item("one a", 2, 1)
        + item("one b", 2, 1)
        + item("two", 2)
        + item("two a", 2, 1)
        + item("again one", 3)
        + item("dash", 1)
        + item("deeper", 1, 1)
    )

    text = _text(body)

    assert text.splitlines()[:8] == [
        "1. one",
        "  1.a) one a",
        "  1.b) one b",
        "2. two",
        "  2.a) two a",
        "1. again one",
        "- dash",
        "  - deeper",
    ]


def test_numbered_headings_have_their_number() -> None:
    numbered = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="2"/></w:numPr>'
    body = paragraph("Looms", "berschrift1", numbered) + paragraph("Text.")

    assert sections_of(DocxExtractor(), docx(body))[0].headings == ("1. Looms",)


def test_deleted_moved_and_hidden_text_stays_away_and_inserted_text_comes() -> None:
    body = (
        f"<w:p>{run('Kept')}<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        f"<w:del>{run('gone too')}</w:del><w:ins>{run(' and new')}</w:ins>"
        f"<w:moveFrom>{run('moved away')}</w:moveFrom><w:moveTo>{run(' moved here')}</w:moveTo>"
        f"{run('hidden', '<w:vanish/>')}{run(' shown', SHOWN)}</w:p>"
    )
    deleted_row = f"<w:trPr><w:del/></w:trPr>{cell('gone')}{cell('gone')}"
    rows = table(cell("a") + cell("b"), deleted_row, cell("c") + cell("d"))

    sections = sections_of(DocxExtractor(), docx(body + rows))

    assert sections[0].text == "Kept and new moved here shown\n\n"
    assert tables_of(sections) == [[["a", "b"], ["c", "d"]]]


def test_merged_cells_are_written_into_each_that_they_cover() -> None:
    wide, tall = '<w:gridSpan w:val="2"/>', '<w:vMerge w:val="restart"/>'
    rows = (
        cell("All engines", '<w:gridSpan w:val="3"/>'),
        cell("Name") + cell("Size", wide),
        cell("Loom", tall) + cell("1") + cell("2"),
        cell("", "<w:vMerge/>") + cell("3") + cell("4"),
    )

    sections = sections_of(DocxExtractor(), docx(table(*rows)))

    assert sections[0].text == "All engines\n\n"
    assert tables_of(sections) == [
        [["Name", "Size", "Size"], ["Loom", "1", "2"], ["Loom", "3", "4"]]
    ]
    assert sections[1].header == "| Name | Size | Size |\n| --- | --- | --- |\n"


def test_a_long_merged_cell_is_written_once() -> None:
    long = "word " * 300
    rows = (
        cell("Name") + cell("Size"),
        cell(long, '<w:vMerge w:val="restart"/><w:gridSpan w:val="2"/>') + cell("1"),
        *[cell("", '<w:vMerge/><w:gridSpan w:val="2"/>') + cell("2")] * 50,
    )

    sections = sections_of(DocxExtractor(), docx(table(*rows)))

    assert "".join(section.text for section in sections).count("word") == 300


def test_cells_come_in_order_also_out_of_nested_tables_and_controls() -> None:
    inside = paragraph("before") + table(cell("x") + cell("y")) + paragraph("after")
    nested = f"<w:tc><w:tcPr/>{inside}</w:tc>"
    control = f"<w:sdt><w:sdtContent>{cell('chosen')}</w:sdtContent></w:sdt>"
    rows = (cell("A") + cell("B"), nested + control)

    assert tables_of(sections_of(DocxExtractor(), docx(table(*rows)))) == [
        [["A", "B"], ["before x y after", "chosen"]]
    ]


def test_a_table_that_only_frames_text_is_text() -> None:
    sections = sections_of(DocxExtractor(), docx(table(cell("Framed"))))

    assert [(section.kind, section.text) for section in sections] == [("text", "Framed\n\n")]


def test_notes_follow_the_paragraph_that_they_belong_to() -> None:
    notes = (
        f'<w:footnotes {W}><w:footnote w:id="0"><w:p/></w:footnote>'
        f'<w:footnote w:id="7">{paragraph("See the cards.")}</w:footnote></w:footnotes>'
    )
    body = f'<w:p>{run("Looms")}<w:r><w:footnoteReference w:id="7"/></w:r>{run(" weave.")}</w:p>'

    text = _text(body + paragraph("Next."), footnotes=notes)

    assert text == "Looms[^1] weave.\n\n[^1]: See the cards.\n\nNext.\n\n"


def test_text_boxes_come_once() -> None:
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    box = f"<w:txbxContent>{paragraph('In the box')}</w:txbxContent>"
    body = (
        f"<w:p>{run('Around')}<w:r><mc:AlternateContent {mc}>"
        f"<mc:Choice><w:drawing>{box}</w:drawing></mc:Choice><mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
        "</mc:AlternateContent></w:r></w:p>"
    )

    assert _text(body) == "Around\n\nIn the box\n\n"


def test_fields_give_their_text_and_no_instructions() -> None:
    def mark(kind: str) -> str:
        return f'<w:r><w:fldChar w:fldCharType="{kind}"/></w:r>'

    def field(instruction: str, text: str) -> str:
        told = f"<w:r><w:instrText>{instruction}</w:instrText></w:r>"
        return mark("begin") + told + mark("separate") + run(text) + mark("end")

    body = (
        f"<w:p>{run('See ')}{field('HYPERLINK &quot;https://example.org&quot;', 'the site')}</w:p>"
        f"<w:p>{mark('begin')}<w:r><w:instrText> TOC \\o </w:instrText></w:r>{mark('separate')}"
        f"{run('Looms 3')}</w:p><w:p>{run('Cards 4')}{field('PAGEREF x', '4')}</w:p>"
        f"<w:p>{mark('end')}</w:p>"
        f"<w:p>{mark('begin')}<w:r><w:instrText>never ended</w:instrText></w:r></w:p>{SEEN}"
    )

    assert _text(body) == "See the site\n\nSeen\n\n"


def test_a_table_of_contents_that_never_ends_stops_at_a_heading() -> None:
    begun = (
        '<w:p><w:r><w:fldChar w:fldCharType="begin"/></w:r>'
        "<w:r><w:instrText>TOC</w:instrText></w:r>"
        '<w:r><w:fldChar w:fldCharType="separate"/></w:r></w:p>'
    )

    text = _text(begun + paragraph("Looms 3") + paragraph("Looms", "berschrift1") + SEEN)

    assert text == "# Looms\n\nSeen\n\n"


def test_headers_come_first_and_footers_last_each_text_once_and_without_page_numbers() -> None:
    number = '<w:p><w:fldSimple w:instr="PAGE"><w:r><w:t>7</w:t></w:r></w:fldSimple></w:p>'
    header = f"<w:hdr {W}>{paragraph('Engines Ltd')}{number}</w:hdr>"
    footer = f"<w:ftr {W}>{paragraph('Confidential')}</w:ftr>"

    assert _text(SEEN, header=header, footer=footer) == "Engines Ltd\n\nSeen\n\nConfidential\n\n"


def test_code_keeps_its_lines() -> None:
    body = paragraph("for x in y:", "Code") + paragraph("    weave(x)", "Code") + SEEN

    assert _text(body) == "```\nfor x in y:\n    weave(x)\n```\n\nSeen\n\n"


def test_pictures_say_what_they_show() -> None:
    wp = "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"
    picture = (
        f'<w:drawing><wp:inline xmlns:wp="{wp}"><wp:docPr descr="A loom"/></wp:inline></w:drawing>'
    )

    assert _text(f"<w:p><w:r>{picture}</w:r></w:p>") == "A loom\n\n"


def test_formulas_show_what_is_above_and_below() -> None:
    m = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'

    def part(name: str, text: str) -> str:
        return f"<m:{name}><m:r><m:t>{text}</m:t></m:r></m:{name}>"

    power = f"<m:sSup><m:sSupPr/>{part('e', 'c')}{part('sup', '2')}</m:sSup>"

    assert (
        _text(f"<w:p><m:oMath {m}><m:r><m:t>E=m</m:t></m:r>{power}</m:oMath></w:p>") == "E=mc^2\n\n"
    )


def test_the_document_says_who_wrote_it_and_when() -> None:
    (section,) = sections_of(DocxExtractor(), docx(SEEN))

    assert section.properties == {
        "title": "Yearly report",
        "author": "Ada Lovelace",
        "subject": "Engines",
        "keywords": "looms, cards",
        "created": "2024-01-02T03:04:05Z",
        "modified": "2025-06-07T08:09:10Z",
    }


def test_strict_documents_are_read_like_others() -> None:
    strict = "http://purl.oclc.org/ooxml/"
    data = archive(
        {
            "_rels/.rels": relations({"r officeDocument": "d.xml"}),
            "d.xml": f'<w:document xmlns:w="{strict}wordprocessingml/main"><w:body>{SEEN}</w:body>'
            "</w:document>",
        }
    )

    assert text_of(DocxExtractor(), data) == "Seen\n\n"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(docx(SEEN)[:-300], BrokenFile, id="cut short"),
        pytest.param(archive({"a.txt": "hello"}), BrokenFile, id="another archive"),
        pytest.param(docx("<w:p><w:r>"), BrokenFile, id="damaged XML"),
        pytest.param(OLE + bytes(600), BrokenFile, id="damaged container"),
        pytest.param(
            archive({"_rels/.rels": relations({"r officeDocument": "none.xml"})}),
            BrokenFile,
            id="no such part",
        ),
    ],
)
def test_files_that_are_none_fail_with_a_reason(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        sections_of(DocxExtractor(), data)


def test_entities_are_refused() -> None:
    bomb = f'<!DOCTYPE x [<!ENTITY a "aaaa">]><w:document {W}><w:body>{SEEN}</w:body></w:document>'
    data = archive({"_rels/.rels": relations({"r officeDocument": "d.xml"}), "d.xml": bomb})

    with pytest.raises(BrokenFile, match="entities"):
        sections_of(DocxExtractor(), data)


def test_reading_holds_no_more_than_a_paragraph() -> None:
    source = io.BytesIO(docx(paragraph("Words and words. " * 50) * 4000))
    sections = DocxExtractor().extract(source)

    next(sections)

    assert source.tell() < len(source.getvalue())
