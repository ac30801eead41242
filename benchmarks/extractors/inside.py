"""One extractor at work on the files of one type: ours in our environment, others in theirs.

    python inside.py TYPE LIBRARY SECONDS FILE...

The first pass over the files counts text, and is not timed; more follow until they have taken that
many CPU seconds.
"""

# ruff: noqa: PLC0415 - only what the chosen library needs is imported

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any, NamedTuple

OURS = "vectorflow"

Read = Callable[[bytes], str]

MIME: Mapping[str, str] = {
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eml": "message/rfc822",
    "epub": "application/epub+zip",
    "html": "text/html",
    "ipynb": "application/x-ipynb+json",
    "msg": "application/vnd.ms-outlook",
    "odt": "application/vnd.oasis.opendocument.text",
    "pdf": "application/pdf",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class Library(NamedTuple):
    """Another way to get text out of a type."""

    ready: Callable[[], Read]
    structure: bool = True
    """It tells headings, rows or pages apart; without that it does less, and is no goal."""


def vectorflow(kind: str) -> Read:
    from vectorflow import plugins
    from vectorflow.domain.documents import Section

    extractor = plugins.load("extractors", kind)()

    def read(data: bytes) -> str:
        found = extractor.extract(io.BytesIO(data))
        return "".join(one.text for one in found if isinstance(one, Section))

    return read


def kreuzberg(kind: str) -> Callable[[], Read]:
    def ready() -> Read:
        from kreuzberg import ExtractionConfig, extract_bytes_sync

        how = ExtractionConfig(use_cache=False, disable_ocr=True, output_format="markdown")
        return lambda data: extract_bytes_sync(data, MIME[kind], how).content

    return ready


def markitdown(kind: str) -> Callable[[], Read]:
    def ready() -> Read:
        from markitdown import MarkItDown, StreamInfo

        convert = MarkItDown(enable_plugins=False).convert_stream
        info = StreamInfo(extension=f".{kind}", mimetype=MIME[kind])
        return lambda data: convert(io.BytesIO(data), stream_info=info).text_content

    return ready


def pypdfium2() -> Read:
    import pypdfium2 as pdfium

    def read(data: bytes) -> str:
        document = pdfium.PdfDocument(data)
        try:
            return "\f".join(page.get_textpage().get_text_range() for page in document)
        finally:
            document.close()

    return read


def pypdf() -> Read:
    from pypdf import PdfReader

    def read(data: bytes) -> str:
        return "\f".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)

    return read


def pdfminer() -> Read:
    from pdfminer.high_level import extract_text

    return lambda data: extract_text(io.BytesIO(data))


def pdf_oxide() -> Read:
    from pdf_oxide import PdfDocument

    def read(data: bytes) -> str:
        document = PdfDocument.from_bytes(data)
        return "\f".join(document.extract_text(page) for page in range(document.page_count()))

    return read


def selectolax() -> Read:
    from selectolax.lexbor import LexborHTMLParser

    def read(data: bytes) -> str:
        body = LexborHTMLParser(data).body
        return body.text(separator="\n") if body else ""

    return read


def resiliparse() -> Read:
    return _resiliparse(main_content=False)


def resiliparse_main() -> Read:
    return _resiliparse(main_content=True)


def _resiliparse(*, main_content: bool) -> Read:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding
    from resiliparse.parse.html import HTMLTree

    def read(data: bytes) -> str:
        tree = HTMLTree.parse(bytes_to_str(data, detect_encoding(data)))
        return extract_plain_text(tree, main_content=main_content)

    return read


def trafilatura() -> Read:
    from trafilatura import extract

    return lambda data: extract(data, output_format="markdown", include_tables=True) or ""


def beautifulsoup() -> Read:
    from bs4 import BeautifulSoup

    return lambda data: BeautifulSoup(data, "lxml").get_text("\n", strip=True)


def python_docx() -> Read:
    from docx import Document
    from docx.table import Table

    def lines(data: bytes) -> Iterator[str]:
        for block in Document(io.BytesIO(data)).iter_inner_content():
            if isinstance(block, Table):
                yield from _joined([cell.text for cell in row.cells] for row in block.rows)
            else:
                yield f"{_marks(block.style.name)}{block.text}"

    return lambda data: "\n".join(lines(data))


def _marks(style: str) -> str:
    level = style.removeprefix("Heading ")
    return "#" * int(level) + " " if level != style and level.isdigit() else ""


def docx2txt() -> Read:
    from docx2txt import process

    return lambda data: process(io.BytesIO(data))


def python_pptx() -> Read:
    from pptx import Presentation

    def lines(data: bytes) -> Iterator[str]:
        for number, slide in enumerate(Presentation(io.BytesIO(data)).slides, 1):
            yield f"# Slide {number}"
            for shape in slide.shapes:
                if shape.has_text_frame:
                    yield shape.text_frame.text
                if shape.has_table:
                    rows = shape.table.rows
                    yield from _joined([cell.text for cell in row.cells] for row in rows)
            if slide.has_notes_slide:
                yield slide.notes_slide.notes_text_frame.text

    return lambda data: "\n".join(lines(data))


def calamine() -> Read:
    from python_calamine import CalamineWorkbook

    def lines(data: bytes) -> Iterator[str]:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        for name in book.sheet_names:
            yield name
            yield from _joined(book.get_sheet_by_name(name).to_python())

    return lambda data: "\n".join(lines(data))


def openpyxl() -> Read:
    from openpyxl import load_workbook

    def lines(data: bytes) -> Iterator[str]:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        for sheet in book.worksheets:
            yield sheet.title
            yield from _joined(sheet.iter_rows(values_only=True))

    return lambda data: "\n".join(lines(data))


def csv_reader(delimiter: str) -> Callable[[], Read]:
    """It is told the delimiter, and an encoding that reads every byte."""

    def ready() -> Read:
        import csv

        def read(data: bytes) -> str:
            lines = io.StringIO(data.decode("latin-1"), newline="")
            return "\n".join(_joined(csv.reader(lines, delimiter=delimiter)))

        return read

    return ready


def striprtf() -> Read:
    from striprtf.striprtf import rtf_to_text

    return lambda data: rtf_to_text(data.decode("latin-1"))


def email() -> Read:
    from email import message_from_bytes, policy

    def read(data: bytes) -> str:
        mail = message_from_bytes(data, policy=policy.default)
        body = mail.get_body(("plain", "html"))
        names = ("subject", "from", "to", "date")
        top = "\n".join(f"{name}: {mail[name]}" for name in names if mail[name])
        return f"{top}\n\n{body.get_content() if body else ''}"

    return read


def oxmsg() -> Read:
    from oxmsg import Message

    def read(data: bytes) -> str:
        mail = Message.load(io.BytesIO(data))
        people = ", ".join(one.email_address for one in mail.recipients)
        return "\n".join(filter(None, (mail.subject, mail.sender, people, mail.body)))

    return read


def elements() -> Read:
    from lxml import etree

    return lambda data: "\n".join(etree.fromstring(data).itertext())


def json_dump() -> Read:
    return lambda data: json.dumps(json.loads(data), ensure_ascii=False, indent=1)


def json_lines() -> Read:
    def read(data: bytes) -> str:
        return "\n\n".join(
            json.dumps(json.loads(line), ensure_ascii=False, indent=1) for line in data.splitlines()
        )

    return read


def charset_normalizer() -> Read:
    from charset_normalizer import from_bytes

    return lambda data: str(from_bytes(data).best())


LIBRARIES: Mapping[str, Mapping[str, Library]] = {
    "html": {
        "selectolax, text": Library(selectolax, structure=False),
        "resiliparse, plain": Library(resiliparse, structure=False),
        "resiliparse, main content": Library(resiliparse_main, structure=False),
        "bs4 + lxml": Library(beautifulsoup, structure=False),
        "trafilatura": Library(trafilatura),
        "kreuzberg": Library(kreuzberg("html")),
        "markitdown": Library(markitdown("html")),
    },
    "pdf": {
        "pypdfium2": Library(pypdfium2),
        "pdf_oxide": Library(pdf_oxide),
        "pypdf": Library(pypdf),
        "pdfminer.six": Library(pdfminer),
        "kreuzberg": Library(kreuzberg("pdf")),
    },
    "docx": {
        "docx2txt": Library(docx2txt, structure=False),
        "python-docx": Library(python_docx),
        "kreuzberg": Library(kreuzberg("docx")),
        "markitdown": Library(markitdown("docx")),
    },
    "pptx": {
        "python-pptx": Library(python_pptx),
        "kreuzberg": Library(kreuzberg("pptx")),
        "markitdown": Library(markitdown("pptx")),
    },
    "xlsx": {
        "calamine": Library(calamine),
        "openpyxl": Library(openpyxl),
        "kreuzberg": Library(kreuzberg("xlsx")),
    },
    "xls": {"calamine": Library(calamine), "kreuzberg": Library(kreuzberg("xls"))},
    "csv": {"csv.reader": Library(csv_reader(",")), "kreuzberg": Library(kreuzberg("csv"))},
    "tsv": {"csv.reader": Library(csv_reader("\t"))},
    "doc": {"kreuzberg": Library(kreuzberg("doc"))},
    "odt": {"kreuzberg": Library(kreuzberg("odt"))},
    "rtf": {
        "striprtf": Library(striprtf, structure=False),
        "kreuzberg": Library(kreuzberg("rtf")),
    },
    "epub": {"kreuzberg": Library(kreuzberg("epub"))},
    "eml": {"email": Library(email), "kreuzberg": Library(kreuzberg("eml"))},
    "msg": {"python-oxmsg": Library(oxmsg), "kreuzberg": Library(kreuzberg("msg"))},
    "ipynb": {"kreuzberg": Library(kreuzberg("ipynb"))},
    "xml": {"lxml, text": Library(elements, structure=False)},
    "json": {"json": Library(json_dump)},
    "jsonl": {"json": Library(json_lines)},
    "text": {"charset-normalizer": Library(charset_normalizer)},
}


def main() -> None:
    kind, name, seconds, *files = sys.argv[1:]
    read = vectorflow(kind) if name == OURS else LIBRARIES[kind][name].ready()
    readable, characters = _first_pass(read, files)
    passes, started, taken = 0, cpu_seconds(), 0.0
    while readable and (not passes or taken < float(seconds)):
        for data in readable:
            read(data)
        passes += 1
        taken = cpu_seconds() - started
    said = {"files": len(readable), "letters": characters, "cpu_seconds": taken / max(passes, 1)}
    print(json.dumps(said))


def _first_pass(read: Read, files: Iterable[str]) -> tuple[list[bytes], int]:
    """Give the files that can be read, and the letters and digits in their text."""
    readable: list[bytes] = []
    letters = 0
    for file in files:
        data = Path(file).read_bytes()
        try:
            text = read(data)
        except Exception as error:  # noqa: BLE001 - whatever a library raises, it cannot read it
            sys.stderr.write(f"{Path(file).name}: {type(error).__name__}\n")
            continue
        letters += sum(map(str.isalnum, text))
        readable.append(data)
    return readable, letters


def cpu_seconds() -> float:
    used = map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _joined(rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    for row in rows:
        yield "\t".join("" if cell is None else str(cell) for cell in row)


if __name__ == "__main__":
    main()
