import pytest

from tests.extracted import outline_of, sections_of, tables_of, text_of
from tests.office_files import archive, odt
from vectorflow.adapters.extractors.odt import OdtExtractor
from vectorflow.errors import BrokenFile, EncryptedFile

SEEN = "<text:p>Seen</text:p>"


def _text(body: str) -> str:
    return text_of(OdtExtractor(), odt(body, styles=""))


def test_headings_make_a_path_below_the_title_with_their_numbers() -> None:
    body = (
        '<text:p text:style-name="P1">Engines</text:p>'
        '<text:h text:outline-level="1">Looms</text:h><text:p>About looms.</text:p>'
        '<text:h text:outline-level="2">Cards</text:h><text:p>About cards.</text:p>'
        '<text:h text:outline-level="1" text:is-list-header="true">More</text:h>'
        "<text:p>More.</text:p>"
    )

    sections = sections_of(OdtExtractor(), odt(body))

    assert outline_of(sections)[1:] == [
        ("Engines",),
        ("Engines", "1 Looms"),
        ("Engines", "1 Looms", "1.a) Cards"),
        ("Engines", "More"),
    ]


def test_lists_are_counted_and_nested() -> None:
    body = (
        '<text:list text:style-name="L1"><text:list-item><text:p>one</text:p><text:p>more</text:p>'
        "<text:list><text:list-item><text:p>dash</text:p></text:list-item></text:list>"
        "</text:list-item><text:list-item><text:p>two</text:p></text:list-item></text:list>"
        '<text:list text:style-name="L1" text:continue-numbering="true"><text:list-item>'
        "<text:p>three</text:p></text:list-item></text:list>"
        '<text:list text:style-name="L1"><text:list-item><text:p>anew</text:p></text:list-item>'
        "</text:list>"
    )

    assert _text(body) == "1. one\nmore\n  - dash\n2. two\n3. three\n1. anew\n\n"


def test_white_space_is_what_the_format_says() -> None:
    body = "<text:p>a\n   b<text:s text:c='3'/>c<text:tab/>d<text:line-break/>e</text:p>"

    assert _text(body) == "a b   c\td\ne\n\n"


def test_deleted_and_hidden_text_and_comments_stay_away() -> None:
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p>"
        "</text:deletion></text:changed-region></text:tracked-changes>"
        "<text:p>Kept<office:annotation><text:p>said</text:p></office:annotation>"
        '<text:span text:style-name="T1">hidden</text:span> text</text:p>'
    )

    assert _text(body) == "Kept text\n\n"


def test_tables_have_a_header_and_fill_what_is_merged() -> None:
    def cell(text: str, looks: str = "") -> str:
        return f"<table:table-cell {looks}><text:p>{text}</text:p></table:table-cell>"

    covered = "<table:covered-table-cell/>"
    rows = (
        "<table:table-header-rows><table:table-row>"
        + cell("Name")
        + cell("Size", 'table:number-columns-spanned="2"')
        + covered
        + "</table:table-row></table:table-header-rows>",
        "<table:table-row>"
        + cell("Loom", 'table:number-rows-spanned="2"')
        + cell("1", 'table:number-columns-repeated="2"')
        + "</table:table-row>",
        f"<table:table-row>{covered}{cell('3')}{cell('4')}</table:table-row>",
        '<table:table-row table:number-rows-repeated="9999"><table:table-cell/></table:table-row>',
    )

    sections = sections_of(
        OdtExtractor(), odt(f"<table:table>{''.join(rows)}</table:table>", styles="")
    )

    assert tables_of(sections) == [
        [["Name", "Size", "Size"], ["Loom", "1", "1"], ["Loom", "3", "4"]]
    ]


@pytest.mark.parametrize("way", ["columns-repeated", "columns-spanned", "rows-spanned"])
def test_a_long_merged_cell_is_written_once(way: str) -> None:
    long = f'<table:table-cell table:number-{way}="2"><text:p>{"word " * 300}</text:p>'
    other = "<table:table-cell><text:p>x</text:p></table:table-cell>"
    covered = "<table:covered-table-cell/>"
    body = (
        f"<table:table-row>{long}</table:table-cell>{covered}{other}</table:table-row>"
        f"<table:table-row>{covered}{other}</table:table-row>"
    )

    assert _text(f"<table:table>{body}</table:table>").count("word") == 300


def test_a_long_row_that_is_repeated_is_written_once() -> None:
    row = (
        f'<table:table-row table:number-rows-repeated="3"><table:table-cell><text:p>{"word " * 300}'
        "</text:p></table:table-cell><table:table-cell><text:p>x</text:p></table:table-cell>"
        "</table:table-row>"
    )

    text = _text(f"<table:table>{row}</table:table>")

    assert text.count("word") == 300
    assert text.count("x") == 3


def test_notes_follow_the_paragraph_that_they_belong_to() -> None:
    note = (
        "<text:note><text:note-citation>*</text:note-citation><text:note-body>"
        "<text:p>See the cards.</text:p></text:note-body></text:note>"
    )

    text = _text(f"<text:p>Looms{note} weave.</text:p>{SEEN}")

    assert text == "Looms[^1] weave.\n\n[^1]: See the cards.\n\nSeen\n\n"


def test_boxes_links_and_pictures_give_their_words() -> None:
    body = (
        "<text:p>Around<draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box>"
        "</draw:frame> "
        '<text:a xlink:href="https://example.org">the site</text:a>'
        "<draw:frame><draw:image/><svg:title>ignored</svg:title><svg:desc>A loom</svg:desc>"
        "</draw:frame>"
        "</text:p>"
    )

    assert _text(body) == "Around the site A loom\n\nboxed\n\n"


def test_contents_are_left_out_and_code_keeps_its_lines() -> None:
    body = (
        "<text:table-of-content><text:index-body><text:p>Looms 3</text:p></text:index-body>"
        '</text:table-of-content><text:p text:style-name="Preformatted_20_Text">a:</text:p>'
        '<text:p text:style-name="Preformatted_20_Text"><text:s text:c="2"/>b</text:p>'
    )

    assert _text(body) == "```\na:\n  b\n```\n\n"


def test_headers_come_first_and_footers_last_each_text_once_and_without_page_numbers() -> None:
    assert text_of(OdtExtractor(), odt(SEEN)) == "Engines Ltd\n\nSeen\n\nPage of all\n\n"


def test_the_document_says_who_wrote_it_first_and_when() -> None:
    (section,) = sections_of(OdtExtractor(), odt(SEEN))

    assert section.properties == {
        "title": "Yearly report",
        "author": "Ada Lovelace",
        "keywords": "looms, cards",
        "created": "2024-01-02T03:04:05.67",
        "modified": "2025-06-07T08:09:10",
    }


def test_an_encrypted_text_is_told() -> None:
    manifest = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"

    with pytest.raises(EncryptedFile):
        sections_of(OdtExtractor(), odt(SEEN, manifest=manifest))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(odt(SEEN)[:-300], id="cut short"),
        pytest.param(archive({"a.txt": "hello"}), id="another archive"),
        pytest.param(odt("<text:p>"), id="damaged XML"),
    ],
)
def test_files_that_are_none_fail_with_a_reason(data: bytes) -> None:
    with pytest.raises(BrokenFile):
        sections_of(OdtExtractor(), data)
