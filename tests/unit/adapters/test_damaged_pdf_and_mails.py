"""Whatever happens to a file: it has sections, or it says why not."""

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.msg_files import File, message, msg
from tests.pdf_files import Mark, column, pdf
from vectorflow.adapters.extractors.eml import EmlExtractor
from vectorflow.adapters.extractors.msg import MsgExtractor
from vectorflow.adapters.extractors.pdf import PdfExtractor
from vectorflow.domain.documents import Section
from vectorflow.errors import DocumentFailed
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.extractors import check_sections

MAIL = b"""From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>
Subject: =?utf-8?b?Q2Fmw6k=?= =?iso-8859-1?q?=E9?=
Date: Mon, 1 Jan 2024 10:00:00 +0200
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=b"

--=b
Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes
Content-Transfer-Encoding: quoted-printable

Caf=C3=A9 =
and more
--=b
Content-Type: application/pdf; name*0*=utf-8''%C3%A4; name*1=b.pdf
Content-Transfer-Encoding: base64

JVBERi0xLjc=
--=b
Content-Type: message/rfc822

From: x
Subject: inner

Words
--=b--
"""

MSG = msg(
    subject="a",
    body="words " * 900,
    to=[("Ann", "a@b")],
    attached=[File("f.bin", b"x" * 5000), File("", message(subject="in", body="y"))],
    others={0x1009: b"\x2d\0\0\0\x2b\0\0\0LZFu" + bytes(40)},
)

PDF = pdf(
    [column(["One para-", "graph", "", "x"])] * 2,
    info={"Title": "T", "CreationDate": "D:20240102"},
    outline=[Mark(0, "A", 0), Mark(1, "B", 1)],
    attached={"a": b"b"},
)

TOKENS = [
    *[b"charset=", b"charset*=x'y'z", b"=?utf-8?b?", b"?=", b"filename*0*=", b"boundary=", b"\n\n"],
    *[b"message/rfc822", b"multipart/alternative", b"x-uuencode", b"zlib", b"idna", b"utf-7"],
    *[b"\0", b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"0 R", b"/Kids", b"/Count 99999999", b"<<"],
]

DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4)),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize(
    ("extractor", "data"),
    [(EmlExtractor(), MAIL), (MsgExtractor(), MSG), (PdfExtractor(), PDF)],
    ids=["eml", "msg", "pdf"],
)
@given(damage=DAMAGE, cut=st.one_of(st.just(1.0), st.floats(0, 1)))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_gives_sections_or_a_reason(
    extractor: Extractor, data: bytes, damage: list[tuple[float, bytes, int]], cut: float
) -> None:
    for place, put, taken in damage:
        at = int(place * len(data))
        data = data[:at] + put + data[at + taken :]
    data = data[: int(cut * len(data))]

    try:
        found = list(extractor.extract(io.BytesIO(data)))
    except DocumentFailed as error:
        assert error.fix  # noqa: PT017 - both are right
    else:
        check_sections([one for one in found if isinstance(one, Section)])
