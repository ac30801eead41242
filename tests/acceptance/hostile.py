"""Files that want to hurt whoever reads them, and what must become of each."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Hostile(NamedTuple):
    """One file."""

    name: str
    make: Callable[[], bytes]
    ends: frozenset[str]
    """Codes of failure, one of which it must end with; `read` where it may also be embedded."""


def write(folder: Path, files: "tuple[Hostile, ...] | None" = None) -> None:
    """Write all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files or HOSTILE:
        (folder / file.name).write_bytes(file.make())


def _zip(*entries: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


_RELATIONS = (
    b'<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
    b'relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument'
    b'/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>'
)


def _docx(document: bytes) -> bytes:
    types = (
        b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/'
        b'content-types"><Override PartName="/word/document.xml" ContentType="application/vnd.'
        b'openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    )
    return _zip(
        ("[Content_Types].xml", types), ("_rels/.rels", _RELATIONS), ("word/document.xml", document)
    )


_WORD = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
_PARAGRAPH = b"<w:p><w:r><w:t>Good text.</w:t></w:r></w:p>"
_PLAIN_DOCX = _WORD + b"<w:body>" + _PARAGRAPH + b"</w:body></w:document>"


def _bomb() -> bytes:
    """A document of 1 GiB in 1 MiB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", b"<Types/>")
        archive.writestr("_rels/.rels", _RELATIONS)
        with archive.open("word/document.xml", "w", force_zip64=True) as entry:
            for _ in range(1024):
                entry.write(bytes(MIB))
    return file.getvalue()


def _lying() -> bytes:
    """A document whose header says 100 bytes, and that goes on for 300 MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join([packer.compress(b"A" * MIB) for _ in range(300)]) + packer.flush()
    name = b"word/document.xml"
    head = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(body), 100, len(name), 0)
    local = b"PK\x03\x04" + head + name + body
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, 0)
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry + name), len(local), 0)
    return local + entry + name + b"PK\x05\x06" + end


def _nested() -> bytes:
    inner = _zip(("zeros", bytes(MIB)))
    for _ in range(50):
        inner = _zip(*((f"{number}.zip", inner) for number in range(4)))
        if len(inner) > MIB:
            break
    return _zip(("mimetype", b"application/epub+zip"), ("again.epub", inner))


def _pdf(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1; the first is the root."""
    out, places = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Root 1 0 R /Size %d >>\n" % (len(objects) + 1)
    return out + table + trailer + b"startxref\n%d\n%%%%EOF\n" % len(out)


_ROOT = b"<< /Type /Catalog /Pages 2 0 R >>"
_PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R /Resources << >> >>"


def _stream(data: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%b\nendstream" % (len(data), data)


def _whole_pdf(content: bytes) -> bytes:
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return _pdf(_ROOT, pages, _PAGE, _stream(content))


def _looping_pdf() -> bytes:
    return _pdf(
        _ROOT, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000 >>", _PAGE, _stream(b"")
    )


def _bloated_pdf() -> bytes:
    """A page whose content is 512 MiB when it is unpacked, twice over."""
    packed = zlib.compress(zlib.compress(bytes(512 * MIB), 9), 9)
    stream = b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>" % len(packed)
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return _pdf(_ROOT, pages, _PAGE, stream + b"\nstream\n" + packed + b"\nendstream")


def _deep_mail() -> bytes:
    head = b"From: a@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nSubject: deep\r\n"
    parts = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (number, number)
        for number in range(20_000)
    )
    return head + b"MIME-Version: 1.0\r\n" + parts


def _many_parts() -> bytes:
    head = (
        b"From: a@example.org\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        b'Subject: many\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    )
    return head + b"--b\r\nContent-Disposition: attachment\r\n\r\nx\r\n" * 200_000 + b"--b--\r\n"


def _laughs() -> bytes:
    entities = "".join(
        f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 12)
    )
    return (
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "lol">{entities}]><x>&l11;</x>'
    ).encode()


_EXTERNAL = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY p SYSTEM "file:///etc/passwd">]><x>&p;</x>'


def _ends(*codes: str) -> frozenset[str]:
    return frozenset(codes)


_BROKEN = _ends("broken_file", "extractor_crashed", "empty_document", "binary_content")
_LIMIT = _ends("limit_exceeded", "extractor_crashed")
_LIMIT_OR_BROKEN = _LIMIT | _BROKEN
_ANY = _LIMIT_OR_BROKEN | {"read"}

HOSTILE: tuple[Hostile, ...] = (
    # bombs
    Hostile("bomb.docx", _bomb, _LIMIT),
    Hostile("lying.docx", _lying, _LIMIT_OR_BROKEN),
    Hostile("entries.xlsx", lambda: _zip(*((f"xl/{n}", b"") for n in range(70_000))), _LIMIT),
    Hostile("nested.epub", _nested, _LIMIT_OR_BROKEN),
    Hostile("laughs.xml", _laughs, _ends("unsupported_format")),
    Hostile("bloated.pdf", _bloated_pdf, _ANY),
    # loops and depth
    Hostile("loop.pdf", _looping_pdf, _LIMIT_OR_BROKEN),
    Hostile("deep.html", lambda: b"<div>" * 300_000 + b"Deep.", _ANY),
    Hostile("deep.json", lambda: b"[" * 1_000_000 + b"]" * 1_000_000, _LIMIT_OR_BROKEN),
    Hostile("deep.xml", lambda: b"<?xml version='1.0'?>" + b"<a>" * 300_000, _LIMIT_OR_BROKEN),
    Hostile("deep.rtf", lambda: b"{\\rtf1 " + b"{" * 1_000_000, _LIMIT_OR_BROKEN),
    Hostile("deep.eml", _deep_mail, _ANY),
    Hostile("parts.eml", _many_parts, _LIMIT | {"read"}),
    Hostile("deep.docx", lambda: _docx(_WORD + b"<w:p>" * 200_000), _LIMIT_OR_BROKEN),
    # cut short
    Hostile("short.pdf", lambda: _whole_pdf(b"BT (Hello) Tj ET")[:200], _BROKEN),
    Hostile("short.docx", lambda: _docx(_PLAIN_DOCX)[:-60], _BROKEN),
    Hostile("short.xlsx", lambda: _zip(("xl/workbook.xml", b"<x/>" * 500))[:80], _BROKEN),
    Hostile("short.doc", lambda: OLE + bytes(504), _BROKEN),
    Hostile("short.msg", lambda: OLE + bytes(range(256)) * 8, _BROKEN),
    Hostile("short.xls", lambda: OLE + b"\xff" * 2000, _BROKEN),
    Hostile("short.ipynb", lambda: b'{"cells": [{"cell_type": "code", "sou', _BROKEN),
    Hostile("short.jsonl", lambda: b'{"a": 1}\n{"a": \n', _BROKEN),
    # not what they say
    Hostile("image.pdf", lambda: b"\x89PNG\r\n\x1a\n" + bytes(5000), _BROKEN),
    Hostile("image.txt", lambda: b"\x89PNG\r\n\x1a\n" + bytes(5000), _ends("unsupported_format")),
    Hostile("archive.docx", lambda: _zip(("readme", b"no document")), _BROKEN),
    Hostile("archive.zip", lambda: _zip(("readme", b"text")), _ends("unsupported_format")),
    # what leads elsewhere
    Hostile(
        "traversal.docx",
        lambda: _zip(("../../../tmp/vectorflow-traversal", b"x"), ("/etc/cron.d/x", b"x")),
        _LIMIT_OR_BROKEN,
    ),
    Hostile("external.xml", lambda: _EXTERNAL, _ends("unsupported_format")),
    # encodings
    Hostile("odd.txt", lambda: b"\xff\xfe" + "text".encode("utf-16-le") + b"x", _BROKEN),
    Hostile("half.txt", lambda: b"\xff\xfeA\0\x00\xd8B\0", _BROKEN),
    Hostile("nul.csv", lambda: b"a,b\n1,\0\0\0\n" * 100, _ANY),
)
