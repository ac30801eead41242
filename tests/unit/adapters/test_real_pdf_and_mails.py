# ruff: noqa: RUF001 - letters of many scripts look alike

from pathlib import Path

import pytest

from vectorflow.adapters.extractors.eml import EmlExtractor
from vectorflow.adapters.extractors.msg import MsgExtractor
from vectorflow.adapters.extractors.pdf import PdfExtractor
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import EmptyDocument, EncryptedFile
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.extractors import check_sections

FILES = Path(__file__).parents[2] / "files"
EXTRACTORS: dict[str, Extractor] = {
    "eml": EmlExtractor(),
    "msg": MsgExtractor(),
    "pdf": PdfExtractor(),
}


def _extract(name: str) -> tuple[list[Section], list[Attached]]:
    kind = name.partition("/")[0]
    with (FILES / name).open("rb") as source:
        found = list(EXTRACTORS[kind].extract(source))
    sections = [one for one in found if isinstance(one, Section)]
    check_sections(sections)
    return sections, [one for one in found if isinstance(one, Attached)]


class TestPdf:
    def test_an_article_of_latex_has_its_outline_pages_and_paragraphs(self) -> None:
        sections, _ = _extract("pdf/pdflatex-outline.pdf")

        assert [(one.page, one.headings) for one in sections][:5] == [
            (1, ()),
            (2, ("1 Foo",)),
            (2, ("2 Bar",)),
            (2, ("3 Baz",)),
            (2, ("4 Foo",)),
        ]
        assert sections[0].text.startswith("Contents\n1 Foo 2\n2 Bar 2\n")
        assert sections[1].text.startswith(
            "# 1 Foo\n\nHello, here is some text without a meaning. This text should show what a\n"
            "printed text will look like at this place. If you read this text, you will get no\n"
        )
        assert sections[0].properties["created"] == "2022-04-06T20:15:41+02:00"

    def test_scripts_of_many_directions_are_in_order(self) -> None:
        sections, _ = _extract("pdf/hello-world.pdf")

        assert sections[0].text == (
            "English:\nHello World\n\nArabic:\nمرحبا بالعالم\n\nRussian:\nПривет, мир\n\n"
            "Chinese (traditional):\n你好世界\n\nThai:\nสวัสดีชาวโลก\n\nJapanese:\nこんにちは世界\n\n"
        )

    def test_what_a_form_holds_is_text(self) -> None:
        sections, _ = _extract("pdf/libreoffice-form.pdf")

        assert "First Name Last Name" in sections[0].text
        assert "Alice" in sections[0].text

    def test_files_inside_are_documents(self) -> None:
        sections, attached = _extract("pdf/attachments.pdf")

        assert sections[0].text == "test\n\n"
        assert [(one.name, one.data[:4]) for one in attached] == [
            ("1.txt", b"test"),
            ("attached.pdf", b"%PDF"),
        ]

    def test_an_outline_in_circles_ends(self) -> None:
        assert [one.page for one in _extract("pdf/toc_circular.pdf")[0]] == [1, 2]

    def test_a_drawing_has_no_text(self) -> None:
        with pytest.raises(EmptyDocument, match="no text on any page"):
            _extract("pdf/git.pdf")

    def test_of_two_passwords_only_that_of_the_reader_counts(self) -> None:
        assert "pdf encryption test" in _extract("pdf/r6-owner-password.pdf")[0][0].text
        with pytest.raises(EncryptedFile):
            _extract("pdf/r6-user-password.pdf")


class TestMails:
    def test_a_digest_has_its_mails_attached(self) -> None:
        sections, attached = _extract("eml/msg_02.eml")

        assert "Today's Topics:" in sections[0].text
        assert "Ppp mailing list\nPpp@zzz.org" in sections[0].text
        assert [one.name for one in attached] == [
            "[Ppp] testing #1.eml",
            "attachment-2.eml",
            "[Ppp] testing #3.eml",
            "[Ppp] testing #4.eml",
            "[Ppp] testing #5.eml",
        ]

    def test_a_picture_that_is_attached_is_a_document(self) -> None:
        sections, attached = _extract("eml/msg_07.eml")

        assert "This is the dingus fish." in sections[0].text
        assert [(one.name, one.data[:4]) for one in attached] == [("dingusfish.gif", b"GIF8")]

    def test_a_report_says_why_and_brings_the_mail_back(self) -> None:
        sections, attached = _extract("eml/msg_16.eml")

        assert "Reason: recipient reached disk quota" in sections[0].text
        assert "Status: 5.0.0 (recipient reached disk quota)" in sections[0].text
        assert [one.name for one in attached] == ["[scr] yeah for Ians!!.eml"]

    def test_many_recipients_make_no_difference(self) -> None:
        sections, attached = _extract("eml/msg_43.eml")

        assert "was blocked by our Spam Firewall" in sections[0].text
        assert [one.name for one in attached] == ["attachment-1.txt"]

    def test_a_mail_that_is_nothing_but_a_mail_is_named(self) -> None:
        sections, attached = _extract("eml/msg_46.eml")

        assert sections[0].headings == ("GroupwiseForwardingTest",)
        assert [one.name for one in attached] == ["GroupwiseForwardingTest.eml"]


def test_a_message_of_outlook_has_its_photo_attached() -> None:
    sections, attached = _extract("msg/photo.msg")

    assert sections[0].text == (
        "# asdf\n\nFrom: christoph@freiraum.xyz\nTo: christoph@freiraum.xyz\n"
        "Date: 2018-03-23T16:06:29+00:00\n\n"
    )
    assert [(one.name[-4:], one.data[:3]) for one in attached] == [(".jpg", b"\xff\xd8\xff")]
