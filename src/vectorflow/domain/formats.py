"""Which format a file has: by what its first bytes say, then by its name."""

import codecs
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

HEAD_BYTES = 1 << 16
"""As much of a file is looked at."""

TEXT = "text"

_PACKAGES: Mapping[str, bytes] = {
    "docx": b"word/",
    "xlsx": b"xl/",
    "pptx": b"ppt/",
    "odt": b"mimetypeapplication/vnd.oasis.opendocument.text",
    "epub": b"mimetypeapplication/epub+zip",
}
"""Formats that are ZIP archives, and how the name of an entry begins that only they have.

Of two it is followed by what that entry says.
"""

_COMPOUNDS: Mapping[str, bytes] = {
    "msg": "__substg1.0".encode("utf-16-le"),  # first: documents may be attached to it
    "doc": "WordDocument".encode("utf-16-le"),
    "xls": "Workbook".encode("utf-16-le"),
}
"""Formats that are OLE compound files, and the name of a stream that each has."""

_SIGNED = frozenset({"pdf", "rtf", *_PACKAGES, *_COMPOUNDS})
"""Formats that begin with a signature: without it a file is something else."""

_WRITTEN = frozenset(
    {TEXT, "csv", "eml", "html", "ipynb", "json", "jsonl", "markdown", "rst", "tsv", "xml"}
)
"""Formats that are text: with the signature of another a file is that one."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ENTRY = re.compile(
    rb"PK\x03\x04.{26}(?:(%b))" % b")|(".join(map(re.escape, _PACKAGES.values())), re.DOTALL
)
"""An entry's header, then its name: names are not looked for in what is compressed."""
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_LOCKED = "EncryptedPackage".encode("utf-16-le")
"""Stream of the compound file that an Office document with a password is."""
_PDF = re.compile(rb"%PDF-\d")
_PDF_BEGINS = 1024
"""Bytes within which readers look for the signature of a PDF."""

_OTHERS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"RIFF", "an image, sound or film in a RIFF file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\0", "a program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"OggS", "a sound file"),
    (b"ID3", "a sound file"),
    (b"fLaC", "a sound file"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"wOFF", "a font"),
    (b"wOF2", "a font"),
)
"""Signatures of what holds no text that anybody could extract, and its name in a sentence."""

_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Each takes what it has matched for good: no text makes them slow.
_HTML = re.compile(
    rb"\s*+(?><!--.{0,2000}?-->\s*+)*+<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL
)
_XML = re.compile(rb"\s*+<\?xml\s")
_XHTML = re.compile(
    rb"\s*+(?><(?:\?.{0,2000}?\?|!--.{0,2000}?--)>\s*+)*+<(?:!doctype\s+html|html[\s>])",
    re.IGNORECASE | re.DOTALL,
)

_MAIL_HEADER = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r\n]*+|[ \t][^\r\n]*+|>?From [^\r\n]*+)\Z")
_MAIL_MARKS = frozenset(
    {b"content-type", b"date", b"message-id", b"mime-version", b"received", b"return-path"}
)
"""Names of headers that programs write; a mail has one of them beside its sender."""


def format_of(name: str, head: bytes, suffixes: Mapping[str, str]) -> str:
    """Name the format of a file; `text` where nothing says otherwise.

    Args:
        name: File name; letter case does not matter.
        head: The first `HEAD_BYTES` of it.
        suffixes: Endings with their dot, in lower case -> format.
    """
    suffix = PurePosixPath(name.rstrip()).suffix.lower()
    named = suffixes.get(suffix, TEXT)
    if head.startswith(_ZIP):
        return _of_package(named, head)
    if head.startswith(_OLE):
        return _of_compound(named, head)
    if _is_pdf(named, head):
        return "pdf"
    if head.startswith(b"{\\rtf"):
        return "rtf"
    if named in _SIGNED:
        return named if _is_binary(head) else _of_text(TEXT, head)
    found = _of_text(named, head)
    # What is called text may be a piece of XML, or XML that somebody wants to read as it is.
    return TEXT if found == "xml" and suffix and suffixes.get(suffix) == TEXT else found


def unreadable(head: bytes) -> str | None:
    """Say what a file is, `a PNG image`, that no extractor here could read; None if it may be text.

    Ask only after `format_of` found nothing but text.
    """
    if head.startswith(_ZIP):
        return "a ZIP archive that is no document"
    if head.startswith(_OLE):
        other = "an old Office file of a kind that is not read"
        return "an Office file with a password" if _LOCKED in head else other
    if b"\0" not in head and not _is_binary(head):
        return None
    return next((what for sign, what in _OTHERS if head.startswith(sign)), None)


def _of_package(named: str, head: bytes) -> str:
    """Tell which ZIP archive it is: by its first entry that only one format has, else by name.

    A name that only a plugin knows is believed.
    """
    if named not in _WRITTEN | _SIGNED:
        return named
    if entry := _ENTRY.search(head):
        return tuple(_PACKAGES)[(entry.lastindex or 1) - 1]
    return named if named in _PACKAGES else TEXT


def _of_compound(named: str, head: bytes) -> str:
    """Tell which compound file it is; the streams may be listed far behind the head.

    Of several formats that are found in it, as one is embedded in another, the name decides.
    """
    if named not in _WRITTEN | _SIGNED:
        return named
    found = [one for one, stream in _COMPOUNDS.items() if stream in head]
    if found:
        return named if named in found else found[0]
    locked = named in _PACKAGES  # its extractor says that there is a password
    return named if locked or named in _COMPOUNDS else TEXT


def _is_pdf(named: str, head: bytes) -> bool:
    """Tell whether it is a PDF, perhaps after junk; a text that names the signature is none."""
    found = _PDF.search(head[:_PDF_BEGINS])
    if found is None:
        return False
    junk = head[: found.start()].removeprefix(codecs.BOM_UTF8).strip()
    return not junk or named == "pdf" or _is_binary(head)


def _of_text(named: str, head: bytes) -> str:
    if named not in {TEXT, "xml", "html"}:
        return named
    head = _single_bytes(head)
    if _HTML.match(head):
        return "html"
    if _XML.match(head):
        return "html" if named == "html" or _XHTML.match(head) else "xml"
    return "eml" if named == TEXT and _is_mail(head) else named


def _single_bytes(head: bytes) -> bytes:
    """Leave out the byte order mark, and half of each ASCII character of UTF-16."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return head[2:].replace(b"\0", b"")
    return head.removeprefix(codecs.BOM_UTF8)


def _is_mail(head: bytes) -> bool:
    """Tell whether a text begins with the headers of a mail, and nothing else before them."""
    top, blank, _ = head.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = top.splitlines()
    if not blank and len(head) >= HEAD_BYTES:
        lines.pop()  # cut off in the middle
    if len(lines) < 3 or not all(map(_MAIL_HEADER.match, lines)):  # noqa: PLR2004 - a mail has more
        return False
    fields = {line.partition(b":")[0].rstrip().lower() for line in lines}
    return b"from" in fields and not fields.isdisjoint(_MAIL_MARKS)


def _is_binary(head: bytes) -> bool:
    """Tell whether bytes are no text in any encoding that marks itself or has no NUL."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    controls = sum(head[:4096].count(byte) for byte in (*range(1, 8), *range(14, 27)))
    return b"\0" in head or controls * 50 > len(head[:4096])
