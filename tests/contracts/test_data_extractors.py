import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape

import pytest

from tests.contracts.test_extractors import PNG
from tests.xlsx_files import cell, row, sheet, workbook
from vectorflow.adapters.extractors.csv import CsvExtractor, TsvExtractor
from vectorflow.adapters.extractors.html import HtmlExtractor
from vectorflow.adapters.extractors.ipynb import NotebookExtractor
from vectorflow.adapters.extractors.json import JsonExtractor
from vectorflow.adapters.extractors.jsonl import JsonLinesExtractor
from vectorflow.adapters.extractors.xls import XlsExtractor
from vectorflow.adapters.extractors.xlsx import XlsxExtractor
from vectorflow.adapters.extractors.xml import XmlExtractor
from vectorflow.ports.extractor import Extractor
from vectorflow.testing.chunkers import MULTILINGUAL
from vectorflow.testing.extractors import ExtractorSuite

FILES = Path(__file__).parents[1] / "files"

LINES = [line for line in MULTILINGUAL.splitlines() if line.strip()]


class WholeExtractorSuite(ExtractorSuite):
    """Of types that can only be read whole."""

    def test_reading_stops_when_the_iterator_is_closed(
        self, extractor: Extractor, large: bytes
    ) -> None:
        """There is nothing to stop."""


class TestHtmlExtractor(WholeExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "30dcfdb371bc432f"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return HtmlExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        paragraphs = "".join(f"<h2>{n}</h2><p>{line}</p>" for n, line in enumerate(LINES))
        table = "<table><tr><th>a<th>b<tr><td>1<td rowspan=2>2<tr><td>3</table>"
        return f"<title>T</title><h1>Top</h1>{paragraphs}<ul><li>x<li>y</ul>{table}".encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"<p>Words and <b>more</b> words.</p>" * 30_000

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


class TestXmlExtractor(ExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "b929a3b2781e1d81"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return XmlExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        prose = "".join(f"<p>{escape(line)} <b>so</b></p>" for line in LINES)
        records = "".join(f"<user id='{n}'><name>n{n}</name></user>" for n in range(50))
        return f"<doc><section><title>S</title>{prose}</section>{records}</doc>".encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"<r>" + b"<item><name>some name</name><of>many</of></item>" * 30_000 + b"</r>"

    @pytest.fixture
    def broken(self) -> bytes:
        return b"<a><b></a>"


class TestJsonExtractor(WholeExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "32e5a75e7bf02d3e"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return JsonExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        rows = [{"id": n, "name": f"n{n}"} for n in range(20)]
        return json.dumps({"lines": LINES, "rows": rows, "a": {"b": [1, 2.5, None]}}).encode()

    @pytest.fixture
    def large(self) -> bytes:
        return json.dumps([{"id": n, "text": "words " * (n % 9)} for n in range(30_000)]).encode()

    @pytest.fixture
    def broken(self) -> bytes:
        return b'{"a": secret}'


class TestJsonLinesExtractor(ExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "2883505c65f9cb70"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return JsonLinesExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return "\n".join(
            json.dumps({"id": n, "a": {"b": one}}) for n, one in enumerate(LINES)
        ).encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b'{"name": "some name", "of": ["many", "things"]}\n' * 30_000

    @pytest.fixture
    def broken(self) -> bytes:
        return b'{"a": 1}\n{"a": secret}\n'


class TestCsvExtractor(ExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "851d03b91f512b02"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return CsvExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return (
            "number;line\r\n" + "".join(f'{n};"{line}"\r\n' for n, line in enumerate(LINES))
        ).encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"name,of\n" + b'some name,"many, many"\n' * 30_000

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


class TestTsvExtractor(TestCsvExtractor):
    golden: ClassVar[Mapping[int, str]] = {1: "851d03b91f512b02"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return TsvExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return (
            "number\tline\n" + "".join(f"{n}\t{line}\n" for n, line in enumerate(LINES))
        ).encode()

    @pytest.fixture
    def large(self) -> bytes:
        return b"name\tof\n" + b"some name\tmany, many\n" * 30_000


class TestXlsxExtractor(WholeExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "8a44f91855e5a77e"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return XlsxExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        rows = (
            row(n, cell(f"A{n}", n / 4), cell(f"B{n}", line)) for n, line in enumerate(LINES, 1)
        )
        return workbook({"One": sheet(*rows), "Two": sheet(row(1, cell("A1", "x")))})

    @pytest.fixture
    def large(self) -> bytes:
        rows = (
            row(n, cell(f"A{n}", n), cell(f"B{n}", "many words " * 4)) for n in range(1, 15_000)
        )
        return workbook({"One": sheet(*rows)})

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


class TestXlsExtractor(WholeExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "f0442cd25f299491"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return XlsExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return (FILES / "xls" / "sample.xls").read_bytes()

    @pytest.fixture
    def large(self) -> bytes:
        return (FILES / "xls" / "large.xls").read_bytes()

    @pytest.fixture
    def broken(self) -> bytes:
        return PNG


class TestNotebookExtractor(WholeExtractorSuite):
    golden: ClassVar[Mapping[int, str]] = {1: "dc1f418af1a9c667"}

    @pytest.fixture
    def extractor(self) -> Extractor:
        return NotebookExtractor()

    @pytest.fixture
    def sample(self) -> bytes:
        return _notebook([*LINES, "# Title", "text"])

    @pytest.fixture
    def large(self) -> bytes:
        return _notebook(["Words and words.\n\n" * 100] * 400)

    @pytest.fixture
    def broken(self) -> bytes:
        return b'{"cells": secret}'


def _notebook(texts: list[str]) -> bytes:
    cells: list[dict[str, object]] = [{"cell_type": "markdown", "source": one} for one in texts]
    output = {"output_type": "stream", "name": "stdout", "text": "1\n"}
    cells.insert(1, {"cell_type": "code", "source": "print(1)", "outputs": [output]})
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": cells}).encode()
