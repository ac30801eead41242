import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from tests.msg_files import msg
from tests.pdf_files import Mark, column, pdf
from vectorflow.adapters.extractors.eml import EmlExtractor
from vectorflow.adapters.extractors.msg import MsgExtractor
from vectorflow.adapters.extractors.pdf import PdfExtractor
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import MULTILINGUAL
from vectorflow.testing.extractors import ExtractorSuite

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 4

LONG = "".join(f"Line {number} of many in a long mail.\n" for number in range(20_000))


def closing_leaves_the_source_open(
    _suite: ExtractorSuite, extractor: Extractor, large: bytes
) -> None:
    """Instead of that reading stops: of these types small files are read whole at first."""
    source = io.BytesIO(large)
    sections = iter(extractor.extract(source))

    assert next(sections).start == 0
    del sections

    assert not source.closed


class TestPdfExtractor(ExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "f273948ce0f974c9"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return PdfExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        first = column(["Title", "", "One para-", "graph of words.", "", "Two “quoted” € words."])
        second = column([f"Line {number} of the second page." for number in range(40)])
        return pdf(
            [first, b"", second],
            info={"Title": "Sämple", "CreationDate": "D:20240102030405+01'00'"},
            outline=[Mark(0, "Title", 0), Mark(1, "Second", 2)],
        )

    @pytest.fixture
    def large(self) -> bytes:
        page = column(["Words and words and words and words, then more of them."] * 60, top=780)
        return pdf([page] * 200)

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG

    test_reading_stops_when_the_iterator_is_closed = closing_leaves_the_source_open


class TestEmlExtractor(ExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "990c578dd23eb39c"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return EmlExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return (
            "Received: from a by b; Mon, 1 Jan 2024 10:00:00 +0000\r\n"
            "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\n"
            "To: a@example.org,\r\n b@example.org\r\n"
            "Subject: A sample\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{MULTILINGUAL}\r\n--b\r\n"
            "Content-Type: text/html\r\n\r\n<p>no</p>\r\n--b--\r\n"
        ).encode()

    @pytest.fixture
    def large(self) -> bytes:
        return f"From: a@b\nSubject: Large\n\n{LONG}".encode()

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG

    test_reading_stops_when_the_iterator_is_closed = closing_leaves_the_source_open


class TestMsgExtractor(ExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "0a98484d419bc5c0"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return MsgExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return msg(
            subject="A sample",
            sender=("Jürgen", "j@example.org"),
            to=[("Ann", "a@example.org"), ("Bob", "b@example.org")],
            cc=[("", "c@example.org")],
            body=MULTILINGUAL.replace("\n", "\r\n"),
            others={0x0039: datetime(2024, 1, 1, 10, tzinfo=UTC)},
        )

    @pytest.fixture
    def large(self) -> bytes:
        return msg(subject="Large", body=LONG)

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG

    test_reading_stops_when_the_iterator_is_closed = closing_leaves_the_source_open
