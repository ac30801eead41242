import codecs
import io
import struct
import zipfile

import pytest

from vectorflow.domain.formats import HEAD_BYTES, format_of, unreadable

SUFFIXES = {
    ".txt": "text",
    "": "text",
    ".md": "markdown",
    ".html": "html",
    ".xhtml": "html",
    ".xml": "xml",
    ".csv": "csv",
    ".json": "json",
    ".pdf": "pdf",
    ".rtf": "rtf",
    ".docx": "docx",
    ".xlsx": "xlsx",
    ".pptx": "pptx",
    ".odt": "odt",
    ".epub": "epub",
    ".doc": "doc",
    ".xls": "xls",
    ".msg": "msg",
    ".eml": "eml",
    ".py": "python",
    ".vsdx": "visio",  # as a plugin may name it
}

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)

MAIL = b"""Received: from relay (relay [192.0.2.1]) by host; Mon, 1 Jan 2024 10:00:00 +0000
From: Ann <ann@example.org>
To: bob@example.org
Subject: a long
 subject in two lines
Message-ID: <1@example.org>

Hello Bob
"""


def _format(name: str, head: bytes) -> str:
    return format_of(name, head[:HEAD_BYTES], SUFFIXES)


def _package(*names: str, kind: str = "", before: bytes = b"") -> bytes:
    """A ZIP archive with these entries, after one that says what it is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if kind:
            archive.writestr("mimetype", kind)
        if before:
            archive.writestr("[Content_Types].xml", before)
        for name in names:
            archive.writestr(name, f"<{name}/>")
    return file.getvalue()


def _compound(*streams: str) -> bytes:
    """The beginning of an OLE compound file that lists these streams."""
    entries = [name.encode("utf-16-le").ljust(64, b"\0") + bytes(64) for name in streams]
    return OLE + b"".join(entries)


DOCX = _package("_rels/.rels", "word/document.xml")
XLSX = _package("_rels/.rels", "xl/workbook.xml")
PPTX = _package("_rels/.rels", "ppt/presentation.xml")
ODT = _package("content.xml", kind="application/vnd.oasis.opendocument.text")
EPUB = _package("META-INF/container.xml", kind="application/epub+zip")
DOC = _compound("Root Entry", "WordDocument")
XLS = _compound("Root Entry", "Workbook")
MSG = _compound("Root Entry", "__nameid_version1.0", "__substg1.0_0037001F")
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"
RTF = rb"{\rtf1\ansi Hello}"

SIGNED = {
    "pdf": PDF,
    "rtf": RTF,
    "docx": DOCX,
    "xlsx": XLSX,
    "pptx": PPTX,
    "odt": ODT,
    "epub": EPUB,
    "doc": DOC,
    "xls": XLS,
    "msg": MSG,
}


@pytest.mark.parametrize("kind", SIGNED)
@pytest.mark.parametrize("suffix", ["", ".txt", ".md", ".html", ".csv", ".eml", ".unheard"])
def test_a_signature_beats_a_name_of_text(kind: str, suffix: str) -> None:
    assert _format(f"file{suffix}", SIGNED[kind]) == kind


@pytest.mark.parametrize("kind", ["pdf", "rtf", "docx", "xlsx", "pptx", "odt", "epub"])
@pytest.mark.parametrize("suffix", [".pdf", ".docx", ".xlsx", ".odt", ".doc", ".msg", ".rtf"])
def test_a_signature_beats_the_name_of_another_signature(kind: str, suffix: str) -> None:
    assert _format(f"file{suffix}", SIGNED[kind]) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("A.Md", "markdown"),
        ("notes.tar.JSON", "json"),
        ("folder.d/a.py", "python"),
        ("a.md ", "markdown"),
        ("README", "text"),
        ("a.unheard", "text"),
        (".csv", "text"),
        ("a.", "text"),
        ("", "text"),
    ],
)
def test_text_is_what_its_name_says_in_any_letter_case(name: str, kind: str) -> None:
    assert _format(name, b"plain words") == kind


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.xls", "a.rtf", "a.txt", "a", "a.md"])
def test_an_empty_file_is_text_or_what_its_name_says(name: str) -> None:
    expected = "markdown" if name == "a.md" else "text"

    assert _format(name, b"") == expected


@pytest.mark.parametrize("name", ["a.pdf", "a.doc", "a.xls", "a.docx", "a.msg", "a.rtf"])
def test_words_under_the_name_of_a_signed_format_are_text(name: str) -> None:
    assert _format(name, b"one;two\r\n1;2\r\n") == "text"


@pytest.mark.parametrize("name", ["a.pdf", "a.doc", "a.docx", "a.msg"])
def test_binary_bytes_without_the_signature_go_to_the_extractor_that_says_so(name: str) -> None:
    assert _format(name, bytes(range(256))) == name.removeprefix("a.")


def test_a_name_that_only_a_plugin_knows_is_believed() -> None:
    drawing = _package("visio/document.xml")

    assert _format("a.vsdx", drawing) == "visio"
    assert _format("a.VSDX", _compound("VisioDocument")) == "visio"


class TestPdf:
    @pytest.mark.parametrize("junk", [b"\n\n", b"\xef\xbb\xbf", b"\0" * 100, b"\x1b%-12345X@PJL\n"])
    def test_junk_may_stand_before_it(self, junk: bytes) -> None:
        assert _format("a.pdf", junk + PDF) == "pdf"

    def test_binary_junk_may_stand_before_it_without_a_name(self) -> None:
        assert _format("a", bytes(100) + PDF) == "pdf"
        assert _format("a", b"\n\n" + PDF) == "pdf"

    def test_it_begins_within_the_first_kilobyte(self) -> None:
        assert _format("a", bytes(2000) + PDF) == "text"

    def test_a_text_that_names_the_signature_is_no_pdf(self) -> None:
        assert _format("a.py", b'MAGIC = b"%PDF-1.7"\n') == "python"
        assert _format("a.md", b"A file begins with `%PDF-1.7` then.\n") == "markdown"
        assert _format("a", b"%PDF- is how it begins") == "text"


class TestPackages:
    def test_one_inside_another_does_not_count(self) -> None:
        slides = _package("ppt/presentation.xml") + XLSX + DOCX

        assert _format("a", slides) == "pptx"
        assert _format("a.xlsx", slides) == "pptx"

    def test_names_are_not_looked_for_in_what_is_compressed(self) -> None:
        assert _format("a", _package("ppt/slide1.xml", before=b"..xl/..word/..")) == "pptx"

    def test_the_name_decides_where_the_head_holds_no_entry_that_tells(self) -> None:
        late = _package("word/document.xml", before=bytes(HEAD_BYTES))

        assert _format("a.docx", late) == "docx"
        assert _format("a", late) == "text"

    def test_an_archive_that_is_no_document_is_named_so(self) -> None:
        archive = _package("a.txt")

        assert _format("a.zip", archive) == "text"
        assert unreadable(archive) == "a ZIP archive that is no document"
        assert unreadable(_package()) == "a ZIP archive that is no document"

    @pytest.mark.parametrize("kind", ["spreadsheet", "presentation", "graphics"])
    def test_other_open_documents_are_no_texts(self, kind: str) -> None:
        other = _package("content.xml", kind=f"application/vnd.oasis.opendocument.{kind}")

        assert _format("a.ods", other) == "text"


class TestCompounds:
    def test_a_sheet_in_a_text_and_a_text_in_a_sheet_are_told_by_name(self) -> None:
        both = _compound("WordDocument", "Workbook")

        assert _format("a.doc", both) == "doc"
        assert _format("a.xls", both) == "xls"

    def test_a_mail_stays_one_whatever_is_attached(self) -> None:
        assert _format("a", _compound("__substg1.0_0037001F", "WordDocument")) == "msg"

    def test_the_name_decides_where_the_streams_are_listed_later(self) -> None:
        assert _format("a.msg", OLE) == "msg"
        assert _format("a.doc", OLE) == "doc"

    def test_what_is_inside_beats_the_name(self) -> None:
        assert _format("a.doc", MSG) == "msg"
        assert _format("a.docx", DOC) == "doc"

    def test_a_document_with_a_password_goes_to_its_extractor_which_says_so(self) -> None:
        locked = _compound("EncryptionInfo", "EncryptedPackage")

        assert _format("a.docx", locked) == "docx"
        assert _format("a.xlsx", locked) == "xlsx"
        assert _format("a", locked) == "text"
        assert unreadable(locked) == "an Office file with a password"

    def test_others_are_named_so(self) -> None:
        assert _format("a.ppt", _compound("PowerPoint Document")) == "text"
        assert unreadable(OLE) == "an old Office file of a kind that is not read"


class TestMarkup:
    @pytest.mark.parametrize("name", ["a.doc", "a.xls", "a.txt", "a", "a.pdf", "a.xml", "a.html"])
    @pytest.mark.parametrize(
        "page",
        [
            b"<!DOCTYPE html><p>x",
            b"\xef\xbb\xbf\r\n<HTML lang=en><p>x",
            b"<!-- saved --> <!-- twice -->\n<!doctype  HTML PUBLIC '-//W3C'>",
            b'<html xmlns:o="urn:schemas-microsoft-com:office:office">',
            codecs.BOM_UTF16_LE + "<html><p>x".encode("utf-16-le"),
            codecs.BOM_UTF16_BE + "<!DOCTYPE html>".encode("utf-16-be"),
        ],
    )
    def test_html_under_another_name_is_html(self, name: str, page: bytes) -> None:
        assert _format(name, page) == "html"

    @pytest.mark.parametrize(
        "page",
        [
            b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0">',
            b'<?xml version="1.0"?><!-- a --><?xml-stylesheet href="b"?>\n<html xmlns="c">',
        ],
    )
    def test_xhtml_is_html(self, page: bytes) -> None:
        assert _format("a.xml", page) == "html"
        assert _format("a", page) == "html"

    def test_xml_that_is_called_text_is_text(self) -> None:
        xml = b'<?xml version="1.0"?><book><page>'

        assert [_format(name, xml) for name in ("a.txt", "A.TXT", "a", "a.xml", "a.odd")] == [
            "text", "text", "xml", "xml", "xml",
        ]  # fmt: skip

    def test_xml_that_quotes_html_is_xml(self) -> None:
        feed = b'<?xml version="1.0"?><rss><item><![CDATA[<html><p>x]]></item></rss>'

        assert _format("a.xml", feed) == "xml"
        assert _format("a", feed) == "xml"
        assert _format("a.doc", feed) == "xml"

    @pytest.mark.parametrize("name", ["a.md", "a.py", "a.csv"])
    def test_other_texts_that_begin_with_markup_are_what_their_name_says(self, name: str) -> None:
        assert _format(name, b"<!DOCTYPE html><p>x") == SUFFIXES[name[1:]]

    def test_markup_further_down_does_not_count(self) -> None:
        assert _format("a.txt", b"How to begin: <html>") == "text"

    @pytest.mark.parametrize("opening", [b"<!---->", b"<?x?>", b"<!--", b" \n", b"<?xml "])
    def test_no_text_makes_it_slow(self, opening: bytes) -> None:
        endless = (opening * HEAD_BYTES)[:HEAD_BYTES]

        assert _format("a.txt", endless) in {"text", "xml"}


class TestMails:
    @pytest.mark.parametrize(
        "mail",
        [
            MAIL,
            MAIL.replace(b"\n", b"\r\n"),
            b"\r\n\r\n" + MAIL,
            b"From ann@example.org Mon Jan  1 10:00:00 2024\n" + MAIL,
            b"Return-Path: <a@b>\n>From ann Mon Jan  1 10:00:00 2024\nFROM: a@b\nTO: c\n\nx",
            b"X-Odd_Name.1: \nfrom : a@b\ndate: now\nSubject: caf\xe9\n\nx",
            b"From: a@b\nDate: now\nSubject: no blank line follows",
            b"From: a@b\nTo: c@d\nContent-Type: text/html\n\n<p>x",
            MAIL.partition(b"\n\n")[0] + b"\nX-Spam: " + b"a long report\n " * HEAD_BYTES,
        ],
    )
    def test_a_mail_is_one_under_any_name_of_text(self, mail: bytes) -> None:
        assert _format("message", mail) == "eml"
        assert _format("message.txt", mail) == "eml"
        assert _format("message.eml", mail) == "eml"

    @pytest.mark.parametrize(
        "text",
        [
            b"From: Ann\nTo: Bob\nSubject: lunch\n\nSee you there.",
            b"Date: Monday\nPlace: here\nTopic: plans\n\nNotes.",
            b"From: Ann\nDate: Monday\nwe met and spoke.\n\nNotes.",
            b"Dear Bob,\n\nFrom: Ann\nDate: now\nSubject: x\n\n",
            b"Metadata-Version: 2.1\nName: date\nSummary: From: here\n\nText",
            b"From: Ann\nDate: Monday\n\nToo short for a mail.",
            b"From here on, date: unknown.\n",
        ],
    )
    def test_a_text_that_only_looks_like_a_mail_is_text(self, text: bytes) -> None:
        assert _format("a.txt", text) == "text"

    def test_a_mail_under_the_name_of_code_or_markdown_is_left_alone(self) -> None:
        assert _format("a.md", MAIL) == "markdown"
        assert _format("a.py", MAIL) == "python"


class TestUnreadable:
    @pytest.mark.parametrize(
        ("head", "what"),
        [
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
            (b"GIF89a\0\0\0\0", "a GIF image"),
            (b"\x1f\x8b\x08\0\0\0", "a gzip archive"),
            (b"\x7fELF\x02\x01\x01\0", "a program"),
            (b"SQLite format 3\0", "an SQLite database"),
            (b"RIFF" + struct.pack("<I", 36) + b"WAVE", "an image, sound or film in a RIFF file"),
        ],
    )
    def test_what_holds_no_text_is_named(self, head: bytes, what: str) -> None:
        assert _format("a", head) == "text"
        assert unreadable(head) == what

    @pytest.mark.parametrize("text", [b"", b"words", b"RIFF is a format", b"PAR1 and PAR2", MAIL])
    def test_text_may_be_text_whatever_it_begins_with(self, text: bytes) -> None:
        assert unreadable(text) is None

    def test_unknown_binary_bytes_are_left_to_the_extractor_of_text(self) -> None:
        assert unreadable(bytes(range(256))) is None
