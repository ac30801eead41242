import base64
import io

import pytest

from vectorflow.adapters._mail_parts import MAX_DEPTH, MAX_PARTS
from vectorflow.adapters.extractors.eml import EmlExtractor
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, EncryptedFile, LimitExceeded

HEADERS = """From: Ann <ann@example.org>
To: Bob <bob@example.org>
Subject: Plans
Date: Mon, 1 Jan 2024 10:00:00 +0200
MIME-Version: 1.0
"""


def _extract(mail: str | bytes) -> tuple[list[Section], list[Attached]]:
    data = mail.encode() if isinstance(mail, str) else mail
    found = list(EmlExtractor().extract(io.BytesIO(data)))
    sections = [one for one in found if isinstance(one, Section)]
    return sections, [one for one in found if isinstance(one, Attached)]


def _body(part: str | bytes) -> str:
    """The text below the headers of a mail that goes on with this."""
    data = part.encode() if isinstance(part, str) else part
    text = "".join(section.text for section in _extract(HEADERS.encode() + data)[0])
    return text.partition("Date: 2024-01-01T10:00:00+02:00\n\n")[2].rstrip("\n")


def _parts(kind: str, *parts: str, boundary: str = "=b") -> str:
    inner = "".join(f"--{boundary}\n{part}\n" for part in parts)
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n'
    return f"{head}{inner}--{boundary}--\n"


PLAIN = "Content-Type: text/plain\n\nthe plain text\n"
HTML = "Content-Type: text/html\n\n<p>the <b>rich</b> text\n"
PICTURE = "Content-Type: image/png\nContent-ID: <1>\nContent-Disposition: inline\n\nx\n"
SHEET = 'Content-Type: text/csv\nContent-Disposition: attachment; filename="a.csv"\n\n1,2\n'


class TestHeaders:
    def test_they_open_the_text_below_the_subject(self) -> None:
        sections, _ = _extract(HEADERS + "Cc: c@example.org,\n d@example.org\n\nHello.\n")

        assert [section.headings for section in sections] == [("Plans",)]
        assert sections[0].text == (
            "# Plans\n\nFrom: Ann <ann@example.org>\nTo: Bob <bob@example.org>\n"
            "Cc: c@example.org, d@example.org\nDate: 2024-01-01T10:00:00+02:00\n\nHello.\n\n"
        )

    def test_they_are_properties(self) -> None:
        sections, _ = _extract(HEADERS + "\nHello.\n")

        assert sections[0].properties == {
            "title": "Plans",
            "author": "Ann <ann@example.org>",
            "to": "Bob <bob@example.org>",
            "created": "2024-01-01T10:00:00+02:00",
        }

    @pytest.mark.parametrize(
        ("written", "subject"),
        [
            ("=?utf-8?q?Caf=C3=A9?=", "Café"),
            ("=?ISO-8859-1?Q?a?=\n =?ISO-8859-1?Q?b=20c?=", "ab c"),
            ("Re: =?utf-8?b?Q2Fmw6k=?= (=?iso-8859-2?q?=B3?=)", "Re: Café (ł)"),
            ("=?utf-8?b?w4PD?= =?utf-8?b?qQ==?=", "Ãé"),
            ("=?x-nonsense?q?Caf=C3=A9?=", "Café"),
            ("=?utf-8?q?not closed", "=?utf-8?q?not closed"),
            ("=?utf-8?b?Q?= C:\\users", "=?utf-8?b?Q?= C:\\users"),
            ("=?utf-8?q?x?= C:\\users", "x C:\\users"),
            ("Café in UTF-8", "Café in UTF-8"),
            ("in two\n  lines", "in two lines"),
            ("=?idna?q?xn--a?=", "xn--a"),
        ],
    )
    def test_a_subject_is_decoded(self, written: str, subject: str) -> None:
        sections, _ = _extract(f"From: a@b\nSubject: {written}\n\nx")

        assert sections[0].headings == (subject,)

    def test_bytes_of_a_western_charset_are_read(self) -> None:
        sections, _ = _extract(b"From: a@b\nSubject: Caf\xe9\n\nx")

        assert sections[0].headings == ("Café",)

    @pytest.mark.parametrize("date", ["soon", "", "Mon, 99 Foo 2024", "1 Jan 99999 10:00 +9999"])
    def test_a_date_that_is_none_is_left_out(self, date: str) -> None:
        sections, _ = _extract(f"From: a@b\nDate: {date}\n\nx")

        assert "created" not in sections[0].properties

    def test_many_recipients_are_in_the_text_but_not_on_every_record(self) -> None:
        many = ",\n ".join(f"person{number}@example.org" for number in range(500))

        sections, _ = _extract(f"From: a@b\nTo: {many}\n\nx")

        assert "person499@example.org" in sections[0].text
        assert len(sections[0].properties["to"]) <= 1010
        assert sections[0].properties["to"].endswith("@example.org, …")

    def test_a_mail_of_headers_alone_has_them(self) -> None:
        sections, _ = _extract(HEADERS)

        assert sections[0].text.startswith("# Plans")

    @pytest.mark.parametrize("data", [b"Just words.\n", b"Note: to self\n\nBuy milk.\n"])
    def test_without_them_it_is_no_mail(self, data: bytes) -> None:
        with pytest.raises(BrokenFile, match="does not begin with the headers"):
            _extract(data)

    def test_blank_lines_and_a_mark_before_them_do_not_matter(self) -> None:
        assert _extract("\ufeff\r\n\n" + HEADERS + "\nHello.")[0][0].headings == ("Plans",)


class TestBodies:
    @pytest.mark.parametrize(
        "part",
        [
            "\nCafé\n",
            "Content-Type: text/plain; charset=utf-8\n\nCafé\n",
            "Content-Type: text/plain; charset=x-nonsense\n\nCafé\n",
            "Content-Type: text/plain; charset=iso-8859-1\n\nCafé\n",
            "Content-Transfer-Encoding: quoted-printable\n\nCaf=C3=A9=\n\n",
            "Content-Transfer-Encoding: QUOTED-PRINTABLE \n\nCaf=E9\n",
            "Content-Transfer-Encoding: base64\n\nQ2Fm\nw6k=\n",
            "Content-Transfer-Encoding: base64\n\nQ2Fmw6k\n",
            "Content-Transfer-Encoding: base64 \n\nQ2Fm*w6k=\n",
            "Content-Type: text/plain; charset*=us-ascii'en'utf-8\n\nCafé\n",
            "Content-Type: text/html\n\n<title>x</title><p>Caf&eacute;\n",
            'Content-Type: text/html\n\n<meta charset="utf-8"><p>Café\n',
        ],
    )
    def test_it_is_decoded(self, part: str) -> None:
        assert _body(part) == "Café"

    @pytest.mark.parametrize(
        ("charset", "text"),
        [
            ("koi8-r", "Привет"),
            ("iso-2022-jp", "こんにちは"),
            ("shift_jis", "こんにちは"),
            ("gb2312", "你好"),
            ("euc-kr", "안녕하세요"),
            ("windows-1255", "שלום"),
            ("utf-7", "Grüße"),
            ("utf-16", "Grüße"),
        ],
    )
    def test_every_charset_is_read(self, charset: str, text: str) -> None:
        head = f"Content-Type: text/plain; charset={charset}\n"
        coded = base64.b64encode(text.encode(charset)).decode()

        assert _body(f"{head}Content-Transfer-Encoding: base64\n\n{coded}\n") == text

    def test_signs_of_windows_may_call_themselves_latin(self) -> None:
        part = b"Content-Type: text/plain; charset=iso-8859-1\n\n\x93x\x94 \x80\n"

        assert _body(part) == "“x” €"

    @pytest.mark.parametrize("charset", ["zlib", "hex", "unicode_escape", "idna", "undefined"])
    def test_what_is_no_charset_is_not_run(self, charset: str) -> None:
        assert _body(f"Content-Type: text/plain; charset={charset}\n\n\\x41\n") == "\\x41"

    def test_characters_that_are_lost_already_are_left_out(self) -> None:
        assert _body("\na\ufffdb\n") == "ab"

    def test_line_ends_are_made_alike(self) -> None:
        assert _body("\r\none\r\ntwo\rthree\r\n") == "one\ntwo\nthree"

    def test_paragraphs_that_were_broken_to_travel_are_joined(self) -> None:
        flowed = (
            "Content-Type: text/plain; format=flowed\n\nOne long \nline.\nAnother.\n\n"
            "> quoted \n> too\n>> deeper \n> not\n From space\n-- \nAnn \nLee\n"
        )

        assert _body(flowed) == (
            "One long line.\nAnother.\n\n> quoted too\n>> deeper \n> not\nFrom space\n-- \nAnn Lee"
        )

    def test_the_space_at_which_they_were_broken_may_be_none(self) -> None:
        flowed = "Content-Type: text/plain; format=flowed; delsp=yes\n\nUnbreak \nable\n"

        assert _body(flowed) == "Unbreakable"

    def test_plain_text_is_taken_before_html(self) -> None:
        assert _body(_parts("alternative", HTML, PLAIN)) == "the plain text"

    def test_html_is_taken_where_the_plain_text_is_blank(self) -> None:
        blank = "Content-Type: text/plain\n\n \n"

        assert _body(_parts("alternative", blank, HTML)) == "the rich text"

    def test_html_with_pictures_is_an_alternative_too(self) -> None:
        page = _parts("related", HTML, PICTURE, boundary="=c")

        sections, attached = _extract(HEADERS + _parts("alternative", PLAIN, page))

        assert "the plain text" in sections[0].text
        assert "rich" not in sections[0].text
        assert attached == []

    def test_what_is_attached_inside_of_an_alternative_is_kept(self) -> None:
        mixed = _parts("mixed", HTML, SHEET, boundary="=c")

        sections, attached = _extract(HEADERS + _parts("alternative", PLAIN, mixed))

        assert "rich" not in sections[0].text
        assert attached == [Attached(name="a.csv", data=b"1,2\n")]

    def test_texts_after_each_other_are_all_shown(self) -> None:
        assert _body(_parts("mixed", PLAIN, HTML)) == "the plain text\n\nthe rich text"

    def test_a_report_of_delivery_is_text(self) -> None:
        status = (
            "Content-Type: message/delivery-status\n\nReporting-MTA: dns; host\n\n"
            "Action: failed\nStatus: 5.1.1\n"
        )

        assert _body(_parts("report", PLAIN, status)) == (
            "the plain text\n\nReporting-MTA: dns; host\n\nAction: failed\nStatus: 5.1.1"
        )

    @pytest.mark.parametrize(
        "part",
        [
            "Content-Type: multipart/mixed\n\nthe text\n",
            "Content-Type: multipart/mixed; boundary=none\n\nthe text\n",
            "Content-Type: nonsense\n\nthe text\n",
            _parts("mixed", PLAIN.replace(" plain", "")).removesuffix("--=b--\n"),
        ],
    )
    def test_a_mail_that_is_put_together_wrongly_still_has_its_text(self, part: str) -> None:
        assert _body(part) == "the text"

    def test_an_encrypted_one_says_so(self) -> None:
        sealed = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx\n"

        for part in (sealed, _parts("encrypted", PLAIN)):
            with pytest.raises(EncryptedFile):
                _extract(HEADERS + part)


class TestAttachments:
    @pytest.mark.parametrize(
        ("header", "name"),
        [
            ('Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
            ("Content-Disposition: attachment; filename*=utf-8''%C3%A4.pdf", "ä.pdf"),
            (
                "Content-Disposition: attachment; filename*0*=utf-8''%C3%A4;\n filename*1=b.pdf",
                "äb.pdf",
            ),
            ('Content-Disposition: attachment; filename="=?utf-8?q?=C3=A4?=.pdf"', "ä.pdf"),
            ('Content-Disposition: attachment; filename="../../etc/passwd"', "passwd"),
            ('Content-Disposition: attachment; filename="C:\\\\temp\\\\a.pdf"', "a.pdf"),
            ('Content-Disposition: attachment; filename=".."', "attachment-1.pdf"),
            ('Content-Disposition: attachment; filename="/"', "attachment-1.pdf"),
            ("Content-Disposition: attachment", "attachment-1.pdf"),
            ('X-A: b\nContent-Type: application/pdf; name="n.pdf"', "n.pdf"),
            ("Content-Disposition: attachment; filename*9999999999999999999*=x", "x"),
        ],
    )
    def test_it_is_called_as_in_the_mail_without_folders(self, header: str, name: str) -> None:
        kind = "" if "name=" in header and "X-A" in header else "Content-Type: application/pdf\n"
        part = f"{kind}{header}\nContent-Transfer-Encoding: base64\n\nJVBERg==\n"

        _, attached = _extract(HEADERS + _parts("mixed", PLAIN, part))

        assert attached == [Attached(name=name, data=b"%PDF")]

    def test_those_without_a_name_are_numbered(self) -> None:
        unnamed = "Content-Disposition: attachment\n\nx\n"
        strange = "Content-Type: application/x-strange\n\ny\n"
        headers = "Content-Type: text/rfc822-headers\n\nz\n"

        _, attached = _extract(HEADERS + _parts("mixed", PLAIN, SHEET, unnamed, strange, headers))

        assert [one.name for one in attached] == [
            "a.csv",
            "attachment-2.txt",
            "attachment-3.bin",
            "attachment-4.txt",
        ]

    def test_pictures_of_the_text_and_signatures_are_left_out(self) -> None:
        signature = "Content-Type: application/pgp-signature; name=signature.asc\n\nx\n"
        photo = 'Content-Type: image/jpeg\nContent-Disposition: attachment; filename="p.jpg"\n\nx\n'

        _, attached = _extract(HEADERS + _parts("mixed", HTML, PICTURE, signature, photo))

        assert [one.name for one in attached] == ["p.jpg"]

    def test_a_forwarded_mail_is_a_document_named_by_its_subject(self) -> None:
        inner = 'From: c@d\nSubject: Old/new: "plans"\n\nForwarded words.\n'
        part = f"Content-Type: message/rfc822\n\n{inner}"

        sections, attached = _extract(HEADERS + _parts("mixed", PLAIN, part))

        assert "Forwarded" not in sections[0].text
        assert [one.name for one in attached] == ["Old new plans.eml"]
        inside, _ = _extract(attached[0].data)
        assert inside[0].headings == ('Old/new: "plans"',)
        assert "Forwarded words." in inside[0].text

    def test_a_forwarded_mail_keeps_what_is_attached_to_it(self) -> None:
        part = (
            "Content-Type: message/rfc822\n\n"
            + HEADERS.replace("Plans", "Größe")
            + _parts(
                "mixed", "Content-Type: text/plain; charset=utf-8\n\nGrüße\n", SHEET, boundary="=c"
            )
        )

        _, attached = _extract(HEADERS + _parts("mixed", PLAIN, part))
        inside, further = _extract(attached[0].data)

        assert attached[0].name == "Größe.eml"
        assert "Grüße" in inside[0].text
        assert further == [Attached(name="a.csv", data=b"1,2\n")]

    def test_a_forwarded_mail_that_is_encoded_is_decoded(self) -> None:
        inner = b"From: c@d\nSubject: Inner\n\nWords.\n"
        coded = base64.encodebytes(inner).decode()
        head = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"

        _, attached = _extract(HEADERS + _parts("mixed", PLAIN, head + coded))

        assert attached == [Attached(name="attachment-1.eml", data=inner)]


class TestMailboxes:
    BOX = (
        "From ann@example.org Mon Jan  1 10:00:00 2024\nFrom: a@b\nSubject: One\n\nFirst.\n\n"
        "From the office no header follows.\n\n"
        "From bob@example.org Tue Jan  2 10:00:00 2024\nFrom: c@d\nSubject: Two\n\nSecond.\n\n"
    )

    def test_mails_follow_each_other(self) -> None:
        sections, _ = _extract(self.BOX)

        assert [section.headings for section in sections] == [("One",), ("Two",)]
        assert "From the office" in sections[0].text
        assert sections[0].properties == {}

    def test_one_of_a_single_mail_is_that_mail(self) -> None:
        sections, _ = _extract(self.BOX.partition("\n\nFrom bob")[0])

        assert sections[0].properties["title"] == "One"


class TestLimits:
    def test_the_number_of_parts_is_bounded(self) -> None:
        bomb = _parts("mixed", *["\nx"] * (MAX_PARTS + 1))

        with pytest.raises(LimitExceeded, match="more than 1000 parts") as caught:
            _extract(HEADERS + bomb)

        assert caught.value.limit == "entries"

    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, MAX_PARTS - 2, MAX_PARTS * 3])
    def test_the_depth_of_parts_is_bounded(self, depth: int) -> None:
        opened = "".join(
            f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"
            for level in range(depth)
        )

        with pytest.raises(LimitExceeded) as caught:
            _extract(HEADERS + opened + "\nx")

        assert caught.value.limit in {"depth", "entries"}

    def test_mails_inside_of_mails_are_bounded(self) -> None:
        with pytest.raises(LimitExceeded):
            _extract(HEADERS + "Content-Type: message/rfc822\n\n" * 200 + "\nx")

    def test_alternatives_inside_of_alternatives_take_no_time(self) -> None:
        opened = "".join(
            f"Content-Type: multipart/alternative; boundary=b{level}\n\n--b{level}\n"
            for level in range(MAX_DEPTH - 1)
        )

        assert _body(opened + PLAIN) == "the plain text"
