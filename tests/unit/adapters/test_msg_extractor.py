import io
import struct
from datetime import UTC, datetime

import pytest

from tests.msg_files import File, compound, message, msg
from vectorflow.adapters._outlook import unpacked
from vectorflow.adapters.extractors.eml import EmlExtractor
from vectorflow.adapters.extractors.msg import MsgExtractor
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, LimitExceeded
from vectorflow.ports.extractor import Extractor

HTML, RTF, CODE_PAGE, CONTENT_ID, MEDIA_TYPE = 0x1013, 0x1009, 0x3FDE, 0x3712, 0x370E
SENT = datetime(2024, 1, 1, 10, tzinfo=UTC)


def _extract(
    data: bytes, extractor: Extractor | None = None
) -> tuple[list[Section], list[Attached]]:
    found = list((extractor or MsgExtractor()).extract(io.BytesIO(data)))
    sections = [one for one in found if isinstance(one, Section)]
    return sections, [one for one in found if isinstance(one, Attached)]


def _packed(rtf: bytes) -> bytes:
    """Wrap RTF as it is, without packing it."""
    return struct.pack("<IIII", len(rtf) + 12, len(rtf), 0x414C454D, 0) + rtf


def test_headers_text_and_properties_are_those_of_a_mail() -> None:
    sections, _ = _extract(
        msg(
            subject="Plans",
            sender=("Ann", "ann@example.org"),
            to=[("Bob", "bob@example.org"), ("'c@example.org'", "c@example.org")],
            cc=[("Dan", "/o=Exchange/cn=dan")],
            body="Hello.\r\n\r\nBye.\r\n",
            others={0x0039: SENT},
        )
    )

    assert [section.headings for section in sections] == [("Plans",)]
    assert sections[0].text == (
        "# Plans\n\nFrom: Ann <ann@example.org>\nTo: Bob <bob@example.org>, c@example.org\n"
        "Cc: Dan\nDate: 2024-01-01T10:00:00+00:00\n\nHello.\n\nBye.\n\n"
    )
    assert sections[0].properties == {
        "title": "Plans",
        "author": "Ann <ann@example.org>",
        "to": "Bob <bob@example.org>, c@example.org",
        "cc": "Dan",
        "created": "2024-01-01T10:00:00+00:00",
    }


@pytest.mark.parametrize(("code_page", "text"), [(1251, "Привет"), (932, "こんにちは")])
def test_messages_of_the_time_before_unicode_are_read(code_page: int, text: str) -> None:
    sections, _ = _extract(msg(subject=text, body=text * 2, code_page=code_page))

    assert sections[0].headings == (text,)
    assert text * 2 in sections[0].text


@pytest.mark.parametrize(
    ("page", "data"),
    [(65001, "Größe".encode()), (28592, "Größe".encode("iso8859-2")), (0, "Größe".encode())],
)
def test_html_is_read_where_there_is_no_plain_text(page: int, data: bytes) -> None:
    others = {HTML: b"<p>" + data + b"</p>", CODE_PAGE: page}

    sections, _ = _extract(msg(subject="x", others=others))

    assert sections[0].text == "# x\n\nGröße\n\n"


def test_a_body_of_rtf_alone_is_attached() -> None:
    rtf = rb"{\rtf1\ansi Hello}"

    sections, attached = _extract(msg(subject="x", others={RTF: _packed(rtf)}))

    assert attached == [Attached(name="body.rtf", data=rtf)]
    assert sections[0].text == "# x\n\n"


def test_rtf_beside_other_text_is_left_out() -> None:
    assert _extract(msg(subject="x", body="y", others={RTF: _packed(b"{\\rtf1}")}))[1] == []


@pytest.mark.parametrize(
    ("packed", "rtf"),
    [
        (  # the example of MS-OXRTFCP, 4.1.1
            (
                "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af3206865"
                "6c090020627705b06c647d0a800fa0"
            ),
            b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n",
        ),
        (  # and of 4.1.2, which reads over its own end
            "1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0",
            b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}",
        ),
        ("", b""),
        ("00" * 16, b""),
        ("100000000000000000004c5a4675", b""),
    ],
)
def test_packed_rtf_is_unpacked(packed: str, rtf: bytes) -> None:
    assert unpacked(bytes.fromhex(packed)) == rtf


def test_files_are_documents() -> None:
    files = [
        File("../a.pdf", b"%PDF"),
        File("", b"x", {0x3704: "SHORT~1.DOC"}),
        File("", b"y", {MEDIA_TYPE: "text/plain"}),
        File("logo.png", b"z", {MEDIA_TYPE: "image/png", CONTENT_ID: "logo@x"}),
    ]

    _, attached = _extract(msg(subject="x", body="y", attached=files))

    assert attached == [
        Attached(name="a.pdf", data=b"%PDF"),
        Attached(name="SHORT~1.DOC", data=b"x"),
        Attached(name="attachment-3.txt", data=b"y"),
    ]


def test_a_message_inside_becomes_a_mail_with_all_it_has() -> None:
    deepest = message(subject="Deepest", body="The deepest words.")
    inner = message(
        subject="Größe: alt",
        sender=("Jürgen", "j@example.org"),
        to=[("Ann", "a@example.org")],
        body="Inner\r\nwörds.",
        attached=[File("ü.csv", b"1,2"), File("", deepest)],
        others={0x0039: SENT},
    )

    data = msg(subject="Outer", body="y", attached=[File("", inner)])
    _, (mail,) = _extract(data)
    sections, attached = _extract(mail.data, EmlExtractor())

    assert mail.name == "Größe alt.eml"
    assert sections[0].text == (
        "# Größe: alt\n\nFrom: Jürgen <j@example.org>\nTo: Ann <a@example.org>\n"
        "Date: 2024-01-01T10:00:00+00:00\n\nInner\nwörds.\n\n"
    )
    assert attached[0] == Attached(name="ü.csv", data=b"1,2")
    assert attached[1].name == "Deepest.eml"
    assert "The deepest words." in _extract(attached[1].data, EmlExtractor())[0][0].text
    assert _extract(data)[1] == [mail]


def test_messages_inside_of_messages_are_bounded() -> None:
    inner = message(subject="x")
    for _ in range(60):
        inner = message(subject="x", attached=[File("", inner)])

    with pytest.raises(LimitExceeded) as caught:
        _extract(msg(attached=[File("", inner)]))

    assert caught.value.limit == "depth"


@pytest.mark.parametrize("keep", [600, 1024, 2048])
def test_one_that_is_cut_short_says_so(keep: int) -> None:
    with pytest.raises(BrokenFile):
        _extract(msg(subject="x", body="words " * 1000)[:keep])


def test_a_compound_file_that_is_no_message_says_so() -> None:
    with pytest.raises(BrokenFile, match="no message"):
        _extract(compound({"WordDocument": b"x"}))
