import struct

import pytest

from tests.extracted import outline_of, sections_of, tables_of, text_of
from tests.ole_files import Paragraph, compound, doc, row
from vectorflow.adapters.extractors.doc import DocExtractor
from vectorflow.errors import BrokenFile, EncryptedFile, UnsupportedFormat


def _text(*paragraphs: str, **stories: str) -> str:
    return text_of(DocExtractor(), doc([Paragraph(one) for one in paragraphs], **stories))


def test_headings_come_from_styles_and_outline_levels() -> None:
    outlined = struct.pack("<HB", 0x2640, 0)
    paragraphs = [
        Paragraph("Engines", 3),
        Paragraph("Looms", 1),
        Paragraph("About looms."),
        Paragraph("Cards", 4),
        Paragraph("About cards."),
        Paragraph("More", looks=outlined),
        Paragraph("About more."),
    ]

    assert outline_of(sections_of(DocExtractor(), doc(paragraphs))) == [
        ("Engines",),
        ("Engines", "Looms"),
        ("Engines", "Looms", "Cards"),
        ("Engines", "More"),
    ]


@pytest.mark.parametrize("wide", [False, True])
def test_characters_have_one_byte_or_two(*, wide: bool) -> None:
    text = text_of(DocExtractor(), doc([Paragraph("caf\xe9 \u20ac"), Paragraph("more")], wide=wide))

    assert text == "café €\n\nmore\n\n"


def test_characters_of_four_bytes_do_not_shift_what_paragraphs_look_like() -> None:
    paragraphs = [Paragraph("😀" * 10), Paragraph("Looms", 1), Paragraph("About looms.")]

    sections = sections_of(DocExtractor(), doc(paragraphs, wide=True))

    assert outline_of(sections) == [(), ("Looms",)]


@pytest.mark.parametrize("wide", [False, True])
def test_deleted_and_hidden_text_stays_away(*, wide: bool) -> None:
    data = doc(
        [Paragraph("Kept gone and hidden shown"), Paragraph("Next")],
        wide=wide,
        hidden={"gone ": 0x0800, "hidden ": 0x083C},
    )

    assert text_of(DocExtractor(), data) == "Kept and shown\n\nNext\n\n"


def test_tables_have_a_header() -> None:
    rows = [*row("Name", "Size"), *row("Loom", ""), *row("Card", "2")]

    sections = sections_of(DocExtractor(), doc([*rows, Paragraph("After")]))

    assert tables_of(sections) == [[["Name", "Size"], ["Loom", ""], ["Card", "2"]]]
    assert sections[-1].text == "After\n\n"


def test_list_items_are_set_in_by_their_level() -> None:
    listed = struct.pack("<HH", 0x460B, 1)
    deeper = listed + struct.pack("<HB", 0x260A, 1)

    text = text_of(DocExtractor(), doc([Paragraph("one", 0, listed), Paragraph("two", 0, deeper)]))

    assert text == "- one\n  - two\n\n"


def test_fields_give_their_text_and_contents_are_left_out() -> None:
    text = _text(
        'See \x13 HYPERLINK "https://example.org" \x14the site\x15.',
        "\x13 TOC \\o \x14Looms 3",
        "Cards 4\x15",
        "a\x0bb\x1ec\x1fd",
    )

    assert text == "See the site.\n\na\nb-cd\n\n"


def test_headers_come_first_and_notes_and_boxes_last() -> None:
    text = _text(
        "Seen", headers="Top\rTop\r", footnotes="\x02 Noted\r", boxes="Boxed\r", comments="Said\r"
    )

    assert text == "Top\n\nSeen\n\nNoted\n\nBoxed\n\n"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(doc([Paragraph("Seen")])[:1500], BrokenFile, id="cut short"),
        pytest.param(compound({"Other": b""}), BrokenFile, id="another container"),
        pytest.param(b"no document", BrokenFile, id="no container"),
        pytest.param(doc([Paragraph("Seen")], flags=0x0100), EncryptedFile, id="encrypted"),
        pytest.param(doc([Paragraph("Seen")], version=0x0065), UnsupportedFormat, id="too old"),
    ],
)
def test_files_that_cannot_be_read_fail_with_a_reason(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        sections_of(DocExtractor(), data)
