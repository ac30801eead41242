import io
from collections.abc import Mapping
from typing import ClassVar

import pytest

from tests import office_files as office
from tests.ole_files import Paragraph, doc, row
from vectorflow.adapters.extractors.doc import DocExtractor
from vectorflow.adapters.extractors.docx import DocxExtractor
from vectorflow.adapters.extractors.epub import EpubExtractor
from vectorflow.adapters.extractors.odt import OdtExtractor
from vectorflow.adapters.extractors.pptx import PptxExtractor
from vectorflow.adapters.extractors.rtf import RtfExtractor
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import MULTILINGUAL
from vectorflow.testing.extractors import ExtractorSuite

NOT_ONE = b"%PDF-1.7 no office document " * 20
WORDS = "Words and more words in a paragraph that goes on. " * 10
PARAGRAPHS = MULTILINGUAL.replace("&", "and").replace("<", "(").split("\n\n")


class OfficeSuite(ExtractorSuite):
    @pytest.fixture
    def broken(self) -> bytes:
        return NOT_ONE


class TestDocxExtractor(OfficeSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "49a36a185e401f93"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return DocxExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        rows = office.cell("Name") + office.cell("Size"), office.cell("Loom") + office.cell("1")
        parts = [
            office.paragraph("Engines", "Titel"),
            office.paragraph("Looms", "berschrift1"),
            *map(office.paragraph, PARAGRAPHS),
            office.item("one", 2),
            office.item("two", 2, 1),
            office.table(*rows),
            office.paragraph("weave(x)", "Code"),
        ]
        return office.docx("".join(parts))

    @pytest.fixture
    def large(self) -> bytes:
        return office.docx(office.paragraph(WORDS) * 2000)


class TestPptxExtractor(OfficeSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "a57c25544556243c"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return PptxExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        outline = office.shape("".join(map(office.line, PARAGRAPHS)), "body")
        slides = [office.shape("Looms", "title") + outline, office.shape("free")]
        return office.pptx(slides, {2: office.shape("Speak slowly", "body")})

    @pytest.fixture
    def large(self) -> bytes:
        return office.pptx([office.shape(office.line(WORDS) * 100, "body")] * 20)


class TestOdtExtractor(OfficeSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "a1d705baf2d89ca9"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return OdtExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        cells = "<table:table-cell><text:p>Loom</text:p></table:table-cell>" * 2
        rows = f"<table:table-row>{cells}</table:table-row>" * 2
        return office.odt(
            '<text:h text:outline-level="1">Looms</text:h>'
            + "".join(f"<text:p>{paragraph}</text:p>" for paragraph in PARAGRAPHS)
            + '<text:list text:style-name="L1"><text:list-item><text:p>one</text:p>'
            + f"</text:list-item></text:list><table:table>{rows}</table:table>"
        )

    @pytest.fixture
    def large(self) -> bytes:
        return office.odt(f"<text:p>{WORDS}</text:p>" * 2000)


class TestEpubExtractor(OfficeSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "9f5a354790945b79"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return EpubExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        text = "".join(f"<p>{paragraph}</p>" for paragraph in PARAGRAPHS)
        contents = '<nav epub:type="toc"><ol><li><a href="b.xhtml">Cards</a></li></ol></nav>'
        return office.epub(
            {"a.xhtml": f"<h1>Looms</h1>{text}", "b.xhtml": "<p>Punched</p>"}, contents
        )

    @pytest.fixture
    def large(self) -> bytes:
        chapters = {f"{at}.xhtml": f"<h1>{at}</h1>" + f"<p>{WORDS}</p>" * 100 for at in range(20)}
        return office.epub(chapters, "<nav/>")


class TestRtfExtractor(OfficeSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "424c422808075c96"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return RtfExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        paragraphs = (
            "".join(_unicode(char) for char in paragraph) + "\\par\n" for paragraph in PARAGRAPHS
        )
        rows = r"\trowd\cellx1\cellx2\intbl Name\cell Size\cell\row" * 2
        heading = r"{\stylesheet{\s1 heading 1;}}\pard\s1 Looms\par\pard "
        return ("{\\rtf1\\ansi " + heading + "".join(paragraphs) + rows + "}").encode("ascii")

    @pytest.fixture
    def large(self) -> bytes:
        return ("{\\rtf1 " + f"{WORDS}\\par\n" * 2000 + "}").encode()


class TestDocExtractor(OfficeSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "68cddb6c80f429ea"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return DocExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        texts = [Paragraph(paragraph) for paragraph in PARAGRAPHS]
        return doc(
            [Paragraph("Looms", 1), *texts, *row("Name", "Size"), *row("Loom", "1")], wide=True
        )

    @pytest.fixture
    def large(self) -> bytes:
        return doc([Paragraph(WORDS)] * 2000)

    def test_reading_stops_when_the_iterator_is_closed(
        self, extractor: Extractor, large: bytes
    ) -> None:
        """Instead: its text lies in pieces all over the file, which is read whole at first."""
        source = io.BytesIO(large)

        sections = iter(extractor.extract(source))
        next(sections)
        del sections

        assert not source.closed


def _unicode(char: str) -> str:
    if char.isascii():
        return "\\line " if char == "\n" else char.replace("\\", "\\\\")
    units = char.encode("utf-16-le")
    numbers = (int.from_bytes(units[at : at + 2], "little") for at in range(0, len(units), 2))
    return "".join(
        f"\\u{number if number < 1 << 15 else number - (1 << 16)}?" for number in numbers
    )
