"""PDF, read by PDFium."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from ctypes import c_double, c_ushort
from datetime import datetime
from io import SEEK_END
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from vectorflow.adapters._attachment_names import attachment_name
from vectorflow.adapters._blocks import Block, Page, line, sections
from vectorflow.adapters._pdf_text import Mark, Place, text_of, with_headings
from vectorflow.adapters._steady_reads import steady
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, EmptyDocument, EncryptedFile, LimitExceeded
from vectorflow.ports.extractor import Extractor

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

_ENCRYPT = b"/Encrypt"
_STEP = 1 << 20

IN_MEMORY = 1 << 24
"""Bytes; a larger file is read where it lies, which costs PDFium a fifth more."""

MAX_PAGES = 50_000
MAX_OBJECTS = 500_000
"""Of one page: texts, lines, pictures. A map of a whole country has some 100,000."""

MAX_MARKS = 50_000
"""Entries of the outline; further ones are not looked at."""

MAX_ATTACHED = 1000

_END = b"%%EOF"
_TAIL_BYTES = 1 << 16
"""The end mark lies in the last kilobyte; some programs add their own data after it."""

_PROPERTIES = {"Title": "title", "Author": "author", "Subject": "subject", "Keywords": "keywords"}
_DATES = {"CreationDate": "created", "ModDate": "modified"}
_DATE = re.compile(
    r"(?:D:)?(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(?:(Z)|([-+]\d\d)'?(\d\d)?)?"
)

_SAMPLE = 16
"""Characters of a page that are asked whether their font says what they are."""


class PdfExtractor(Extractor):
    """Gives each page as a section, or more where the outline has headings on it.

    Text comes in the order in which it is drawn, lines in one height from left to right: columns
    follow each other where the program that made the file wrote them so, as nearly all do. Filled
    in forms and notes come after a page's own text. Pages whose fonts do not say which
    characters they show are skipped like pictures.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".pdf",)
    library: ClassVar[str] = "pypdfium2"

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        with steady(source) as file:
            size = file.seek(0, SEEK_END)
            if not size:
                return
            file.seek(max(0, size - _TAIL_BYTES))
            if _END not in file.read():
                raise BrokenFile("the PDF is cut short: its end is missing")
            file.seek(0)
            with closing(_opened(file.read() if size <= IN_MEMORY else file)) as document:
                yield from sections(_blocks(document), _properties(document))


def _opened(file: bytes | BinaryIO) -> "PdfDocument":
    from pypdfium2 import PdfDocument, PdfiumError, raw  # noqa: PLC0415 - takes time to import

    try:
        document = PdfDocument(file)
    except PdfiumError as error:
        asks = error.err_code in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}
        if asks and _is_encrypted(file):  # the code may be of a document before
            raise EncryptedFile("the PDF asks for a password") from None
        raise BrokenFile("the PDF is damaged") from None
    if len(document) > MAX_PAGES:
        document.close()
        raise LimitExceeded("pages", f"the PDF has more than {MAX_PAGES} pages")
    document.init_forms()
    return document


def _blocks(document: "PdfDocument") -> Iterator[Block]:
    marks = _marks(document)
    found = unknown = 0
    for number in range(len(document)):
        text = _page_text(document, number)
        unknown += text is None
        if text:
            found += 1
            yield Page(number + 1)
            yield from with_headings(text, marks.get(number, ()))
    for attached in _attached(document):
        found += 1
        yield attached
    if not found:
        raise _without_text(len(document), unknown)


def _page_text(document: "PdfDocument", number: int) -> str | None:
    """Give the text of a page; None where its fonts do not say which characters they show."""
    from pypdfium2 import raw  # noqa: PLC0415 - takes time to import

    with closing(_page(document, number)) as page:
        if raw.FPDFPage_CountObjects(page) > MAX_OBJECTS:
            message = f"page {number + 1} has more than {MAX_OBJECTS} texts, lines and pictures"
            raise LimitExceeded("objects", message)
        with closing(page.get_textpage()) as characters:
            if not _are_known(characters):
                return None
            found = str(characters.get_text_range())
            return text_of(found, _places(characters, found))


def _is_encrypted(file: bytes | BinaryIO) -> bool:
    """Tell whether a trailer says so: that is never packed itself."""
    if isinstance(file, bytes):
        return _ENCRYPT in file
    file.seek(0)
    end = b""
    while block := file.read(_STEP):
        if _ENCRYPT in end + block:
            return True
        end = block[-len(_ENCRYPT) :]
    return False


def _page(document: "PdfDocument", number: int) -> "PdfPage":
    """Load a page; what is filled in on it becomes part of it."""
    from pypdfium2 import PdfiumError  # noqa: PLC0415 - takes time to import

    try:
        page = document[number]
        if document.formenv is None:
            return page
        with closing(page):
            page.flatten()
        return document[number]
    except PdfiumError:
        raise BrokenFile(f"page {number + 1} of the PDF is damaged") from None


def _places(characters: "PdfTextPage", text: str) -> Callable[[int], Place]:
    """Give what asks PDFium where a character of a text lies."""
    from pypdfium2 import raw  # noqa: PLC0415 - takes time to import

    x, y = c_double(), c_double()
    ask, index_of = raw.FPDFText_GetCharOrigin, raw.FPDFText_GetCharIndexFromTextIndex
    is_counted_alike = characters.count_chars() == len(text)

    def place(number: int) -> Place:
        index = number if is_counted_alike else index_of(characters, _units(text[:number]))
        ask(characters, index, x, y)
        return x.value, y.value

    return place


def _units(text: str) -> int:
    """Count as PDFium does: characters beyond the first plane are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _are_known(characters: "PdfTextPage") -> bool:
    """Tell whether most characters of a page are what they are by more than their glyph."""
    from pypdfium2 import raw  # noqa: PLC0415 - takes time to import

    count = characters.count_chars()
    asked = range(0, count, count // _SAMPLE + 1)
    unknown = sum(raw.FPDFText_HasUnicodeMapError(characters, index) == 1 for index in asked)
    return bool(unknown * 2 <= len(asked))


def _marks(document: "PdfDocument") -> dict[int, list[Mark]]:
    """Give the outline by the page that each entry leads to, counted from 0."""
    found: dict[int, list[Mark]] = {}
    for mark in islice(document.get_toc(), MAX_MARKS):
        target = mark.get_dest()
        page = target.get_index() if target else None
        try:
            title = line(mark.get_title())
        except UnicodeDecodeError:
            continue
        if title and page is not None:
            found.setdefault(page, []).append(Mark(mark.level + 1, title))
    return found


def _attached(document: "PdfDocument") -> Iterator[Attached]:
    from pypdfium2 import PdfiumError  # noqa: PLC0415 - takes time to import

    count = document.count_attachments()
    if count > MAX_ATTACHED:
        raise LimitExceeded("entries", f"more than {MAX_ATTACHED} files are attached to the PDF")
    for number in range(count):
        try:
            file = document.get_attachment(number)
            name, data = file.get_name(), bytes(file.get_data())
        except (PdfiumError, UnicodeDecodeError):  # empty, or it is not in the file
            continue
        yield Attached(name=attachment_name(name, number + 1, ""), data=data)


def _without_text(pages: int, unknown: int) -> EmptyDocument:
    fix = "make its text readable with OCR, then send it again"
    if unknown:
        return EmptyDocument("the fonts of the PDF do not say which characters they show", fix=fix)
    return EmptyDocument(
        f"the PDF has no text on any page ({pages}): it is scanned or drawn", fix=fix
    )


def _properties(document: "PdfDocument") -> dict[str, str]:
    texts = {name: _about(document, key) for key, name in _PROPERTIES.items()}
    dates = {name: _date(_about(document, key)) for key, name in _DATES.items()}
    return texts | dates | {"language": _language(document)}


def _about(document: "PdfDocument", key: str) -> str:
    try:
        return str(document.get_metadata_value(key))
    except UnicodeDecodeError:
        return ""


def _language(document: "PdfDocument") -> str:
    from pypdfium2 import raw  # noqa: PLC0415 - takes time to import

    size = raw.FPDFCatalog_GetLanguage(document, None, 0)
    units = (c_ushort * (size // 2 + 1))()
    raw.FPDFCatalog_GetLanguage(document, units, size)
    return bytes(units).decode("utf-16-le", "ignore").partition("\0")[0]


def _date(written: str) -> str:
    """Write a date of PDF as ISO 8601, as exactly as it is known; empty where it is none."""
    found = _DATE.match(written.strip())
    if found is None:
        return ""
    year, month, day, hour, minute, second, utc, hours, minutes = found.groups()
    zone = "+00:00" if utc else f"{hours}:{minutes or '00'}" if hours else ""
    time = f"T{hour}:{minute}:{second or '00'}{zone}" if hour else ""
    try:
        datetime.fromisoformat(f"{year}-{month}-{day}{time}")
    except ValueError:
        return ""
    return f"{year}-{month}-{day}{time}"
