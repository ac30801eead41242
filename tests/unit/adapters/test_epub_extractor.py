import pytest

from tests.extracted import outline_of, sections_of, tables_of, text_of
from tests.office_files import NCX, NCX_KIND, archive, epub
from vectorflow.adapters.extractors.epub import EpubExtractor
from vectorflow.errors import BrokenFile, EncryptedFile

TWO = {
    "first%20one.xhtml": "<h1>Looms</h1><p>About&nbsp;looms.</p>",
    "second.xhtml": "<p>About cards.</p>",
}
NAV = (
    '<nav epub:type="landmarks"><ol><li><a href="second.xhtml">Start</a></li></ol></nav>'
    '<nav epub:type="toc"><ol><li><a href="first%20one.xhtml">Not this</a><ol>'
    '<li><a href="second.xhtml#x">Cards <b>punched</b></a></li></ol></li></ol></nav>'
)
ENCRYPTION = (
    '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
    'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData>'
    '<enc:CipherReference URI="{}"/></enc:CipherData></enc:EncryptedData></encryption>'
)


def test_chapters_come_in_the_order_of_reading_without_the_contents() -> None:
    sections = sections_of(EpubExtractor(), epub(TWO, NAV))

    assert outline_of(sections) == [("Looms",), ("Looms", "Cards punched")]
    assert "Not this" not in "".join(section.text for section in sections)
    assert sections[0].text.endswith("looms.\n\n")


def test_the_contents_of_older_books_name_chapters_too() -> None:
    point = (
        "<navPoint><navLabel><text>{}</text></navLabel><content src='second.xhtml#{}'/></navPoint>"
    )
    ncx = NCX.format(
        "<navPoint><navLabel><text>Part</text></navLabel><content src='first%20one.xhtml'/>"
        f"{point.format('Cards', 'a')}{point.format('Later', 'b')}</navPoint>"
    )

    sections = sections_of(EpubExtractor(), epub(TWO, ncx, NCX_KIND))

    assert outline_of(sections) == [("Looms",), ("Looms", "Cards")]


def test_a_chapter_that_nobody_names_goes_on_below_the_one_before() -> None:
    sections = sections_of(EpubExtractor(), epub(TWO, "<nav/>"))

    assert sections[-1].headings == ("Looms",)
    assert sections[-1].text.endswith("About cards.\n\n")


def test_tables_are_tables() -> None:
    table = "<table><tr><th>Name</th><th>Size</th></tr><tr><td>Loom</td><td>1</td></tr></table>"

    assert tables_of(sections_of(EpubExtractor(), epub({"a.xhtml": table}, NAV))) == [
        [["Name", "Size"], ["Loom", "1"]]
    ]


def test_the_book_says_who_wrote_it_and_when() -> None:
    sections = sections_of(EpubExtractor(), epub(TWO, NAV))

    assert sections[0].properties == {
        "title": "The Engine",
        "author": "Ada Lovelace, Charles Babbage",
        "language": "en",
        "created": "1843",
        "modified": "2024-01-02T03:04:05Z",
    }


def test_encrypted_chapters_are_told_and_encrypted_fonts_do_no_harm() -> None:
    with pytest.raises(EncryptedFile):
        sections_of(
            EpubExtractor(), epub(TWO, NAV, encryption=ENCRYPTION.format("OEBPS/second.xhtml"))
        )

    assert text_of(EpubExtractor(), epub(TWO, NAV, encryption=ENCRYPTION.format("OEBPS/a.otf")))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(epub(TWO, NAV)[:-300], id="cut short"),
        pytest.param(archive({"a.txt": "hello"}), id="another archive"),
        pytest.param(epub({}, NAV), id="no chapters"),
        pytest.param(
            archive(
                {"META-INF/container.xml": "<container><rootfile full-path='no.opf'/></container>"}
            ),
            id="no package",
        ),
    ],
)
def test_files_that_are_none_fail_with_a_reason(data: bytes) -> None:
    with pytest.raises(BrokenFile):
        sections_of(EpubExtractor(), data)
