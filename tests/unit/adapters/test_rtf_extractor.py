import pytest

from tests.extracted import outline_of, sections_of, tables_of, text_of
from vectorflow.adapters.extractors.rtf import RtfExtractor
from vectorflow.errors import BrokenFile, LimitExceeded

FONTS = r"{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Cyr;}{\f2\fcharset128 Jap;}}"
STYLES = (
    r"{\stylesheet{\ql Normal;}{\s1\b{\*\keycode x} heading 1;}{\s2 Heading 2;}{\s3 Title;}"
    r"{\*\cs10 Default Paragraph Font;}}"
)


def _rtf(body: str, before: str = "") -> bytes:
    return (r"{\rtf1\ansi\ansicpg1252\deff0" + FONTS + STYLES + before + body + "}").encode(
        "cp1252"
    )


def _text(body: str) -> str:
    return text_of(RtfExtractor(), _rtf(body))


def test_headings_come_from_styles_and_outline_levels() -> None:
    body = (
        r"\pard\s3 Engines\par\pard\s1 Looms\par\pard About looms.\par{\pard\s2 Cards\par}"
        r"\pard About cards.\par\pard\outlinelevel0 More\par\pard More.\par"
    )

    assert outline_of(sections_of(RtfExtractor(), _rtf(body))) == [
        ("Engines",),
        ("Engines", "Looms"),
        ("Engines", "Looms", "Cards"),
        ("Engines", "More"),
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(r"caf\'e9", "café", id="a byte of the code page"),
        pytest.param(r"{\f1 \'cc\'e8\'f0}", "Мир", id="the code page of a font"),
        pytest.param(r"{\f2 \'93\'fa\'96" + "\n" + r"\'7b}", "日本", id="characters of two bytes"),
        pytest.param(r"\u8364?uro", "€uro", id="Unicode and what stands for it"),
        pytest.param(r"\uc2\u8364\'80\'80 uro", "€ uro", id="two bytes stand for it"),
        pytest.param(r"{\uc0\u-10179\u-8704}", "😀", id="halves of a character"),
        pytest.param(r"a\u-10179?b", "ab", id="a lone half"),
        pytest.param(r"a\~b\_c\-d\\\{\}", "a\xa0b-cd\\{}", id="symbols"),
        pytest.param(r"\ldblquote a\rdblquote \emdash\line b\tab c", "“a”—\nb\tc", id="words"),
        pytest.param(r"{\upr{plain}{\*\ud{\u21324?}}}", "卌", id="both forms"),
    ],
)
def test_characters_are_what_they_stand_for(body: str, text: str) -> None:
    assert _text(body) == f"{text}\n\n"


def test_deleted_and_hidden_text_pictures_and_comments_stay_away() -> None:
    body = (
        r"Kept{\deleted  gone}{\v  hidden\v0  shown}{\pict\wmetafile8 0102}{\*\unknown no}"
        r"{\*\annotation no}{\object{\*\objdata 00}{\result no}}\plain  text\par"
        r"{\pict\bin6 {{{}}}}after\par"
    )

    assert _text(body) == "Kept shown text\n\nafter\n\n"


def test_tables_have_a_header_and_fill_what_is_merged() -> None:
    body = (
        r"\trowd\cellx1\clmgf\cellx2\clmrg\cellx3\pard\intbl Name\cell Size\cell\cell\row"
        r"\trowd\clvmgf\cellx1\cellx2\cellx3\pard\intbl Loom\cell 1\par one\cell 2\cell\row"
        r"\trowd\clvmrg\cellx1\cellx2\cellx3\pard\intbl\cell 3\cell 4\cell\row"
        r"\pard After\par"
    )

    sections = sections_of(RtfExtractor(), _rtf(body))

    assert tables_of(sections) == [
        [["Name", "Size", "Size"], ["Loom", "1 one", "2"], ["Loom", "3", "4"]]
    ]
    assert sections[-1].text == "After\n\n"


def test_a_long_merged_cell_is_written_once() -> None:
    body = (
        rf"\trowd\clvmgf\cellx1\cellx2\pard\intbl {'word ' * 300}\cell 1\cell\row"
        r"\trowd\clvmrg\cellx1\cellx2\pard\intbl\cell 2\cell\row"
    )

    assert _text(body).count("word") == 300


def test_lists_have_the_labels_that_they_were_written_with() -> None:
    body = (
        r"\pard{\listtext\'b7\tab}\ilvl0 dash\par\pard{\listtext 1.\tab}\ilvl1 one\par"
        r"\pard{\pntext\f0 (a)\tab}{\*\pn\pnlvlbody}old\par"
    )

    assert _text(body) == "- dash\n  1. one\n(a) old\n\n"


def test_fields_give_their_text_and_contents_are_left_out() -> None:
    body = (
        r'See {\field{\*\fldinst{HYPERLINK "https://example.org"}}{\fldrslt{the site}}}.\par'
        r"{\field{\*\fldinst TOC \\o}{\fldrslt Looms\tab 3\par Cards\tab 4\par}}After\par"
    )

    assert _text(body) == "See the site.\n\nAfter\n\n"


def test_notes_follow_the_paragraph_that_they_belong_to() -> None:
    body = (
        r"Looms{\super\chftn{\*\footnote\pard{\super\chftn} See the cards.}} weave.\par Next.\par"
    )

    assert _text(body) == "Looms[^1] weave.\n\n[^1]: See the cards.\n\nNext.\n\n"


def test_headers_come_once_and_without_page_numbers() -> None:
    edge = (
        r"{\headerl Engines Ltd\par}{\headerr Engines Ltd\par}"
        r"{\footer {\field{\*\fldinst PAGE}{\fldrslt 7}}}"
    )

    assert text_of(RtfExtractor(), _rtf(r"Seen\par", edge)) == "Engines Ltd\n\nSeen\n\n"


def test_text_boxes_give_their_words() -> None:
    body = r"Around{\shp{\*\shpinst{\sp{\sn x}{\sv 1}}{\shptxt boxed\par}}{\shprslt twice}}\par"

    assert _text(body) == "Around\n\nboxed\n\n"


def test_the_document_says_who_wrote_it_and_when() -> None:
    info = (
        r"{\info{\title Yearly report}{\author Ad\'e8le}{\operator Nobody}"
        r"{\creatim\yr2024\mo1\dy2\hr3\min4}{\revtim\yr2025\mo6\dy7}{\printim\yr1999}}"
    )

    sections = sections_of(RtfExtractor(), _rtf("Seen", info))

    assert sections[0].properties == {
        "title": "Yearly report",
        "author": "Adèle",
        "created": "2024-01-02T03:04:00",
        "modified": "2025-06-07T00:00:00",
    }


def test_files_that_are_none_fail_with_a_reason() -> None:
    with pytest.raises(BrokenFile):
        text_of(RtfExtractor(), b"no rich text")
    with pytest.raises(BrokenFile, match="middle"):
        text_of(RtfExtractor(), _rtf("Seen")[:-1])


def test_groups_in_groups_end_at_a_limit() -> None:
    with pytest.raises(LimitExceeded, match="deep"):
        text_of(RtfExtractor(), _rtf("{" * 100_000))
