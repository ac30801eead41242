"""Writes small PDF files of every kind that tests need, by hand."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
_ID = bytes(range(16))
_MAY_ALL = -4

_SILENT = (
    "<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts ["
    "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /DW 500 /CIDSystemInfo"
    " << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>] >>"
)


class Mark(NamedTuple):
    """A bookmark."""

    level: int
    """0 is the outermost."""
    title: str
    page: int
    """Counted from 0."""


def shown(*lines: tuple[float, float, str], size: int = 12, turned: bool = False) -> bytes:
    """Write a content stream that shows lines at their places, in this order."""
    matrix = "0 1 -1 0" if turned else "1 0 0 1"
    texts = (
        f"{matrix} {x:g} {y:g} Tm (".encode() + _escaped(text) + b") Tj\n" for x, y, text in lines
    )
    return f"BT /F {size} Tf\n".encode() + b"".join(texts) + b"ET"


def column(lines: Iterable[str], *, x: float = 72, top: float = 720, leading: float = 14) -> bytes:
    """Write a content stream with a line below the other; an empty line leaves a gap."""
    places = ((x, top - leading * number, text) for number, text in enumerate(lines))
    return shown(*(place for place in places if place[2]))


def pdf(  # noqa: PLR0913 - one file has many sides
    pages: Sequence[bytes],
    *,
    info: Mapping[str, str] | None = None,
    outline: Sequence[Mark] = (),
    unicode: Mapping[int, str] | None = None,
    attached: Mapping[str, bytes] | None = None,
    page_entries: str = "",
    speaks: bool = True,
    password: str | None = None,
) -> bytes:
    """Write a PDF.

    Args:
        pages: Content stream of each.
        info: Title, Author, CreationDate, ...
        outline: In reading order.
        unicode: Code of a character -> what the font says that it is.
        attached: Name -> file.
        speaks: Whether the font says which characters it shows.
        page_entries: Added to each page's dictionary.
        password: Asked for by readers; an empty one encrypts, but lets everybody in.
    """
    file = _File(password)
    catalog, tree, font = file.reserve(), file.reserve(), file.reserve()
    kids = [file.reserve() for _ in pages]
    for kid, content in zip(kids, pages, strict=True):
        stream = file.add_stream(content)
        entries = f"/MediaBox [0 0 612 792] /Contents {stream} 0 R {page_entries}"
        resources = f"/Resources << /Font << /F {font} 0 R >> >>"
        file.put(kid, f"<< /Type /Page /Parent {tree} 0 R {entries} {resources} >>")
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    file.put(tree, f"<< /Type /Pages /Count {len(kids)} /Kids [{listed}] >>")
    mapping = f"/ToUnicode {file.add_stream(_to_unicode(unicode))} 0 R" if unicode else ""
    face = "/Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding"
    file.put(font, f"<< {face} {mapping} >>" if speaks else _SILENT)
    extra = _add_outline(file, outline, kids) + _add_attached(file, attached or {})
    file.put(catalog, f"<< /Type /Catalog /Pages {tree} 0 R {extra} >>")
    about = 0
    if info:
        about = file.reserve()
        rows = b" ".join(f"/{k} ".encode() + file.string(v, about) for k, v in info.items())
        file.put(about, b"<< " + rows + b" >>")
    return file.written(catalog, about)


def with_page_tree(kids: str, *, count: int = 1, others: Sequence[str] = ()) -> bytes:
    """Write a PDF whose page tree (object 2) says what it likes; `others` are objects 3, 4, ..."""
    file = _File(None)
    catalog, tree = file.reserve(), file.reserve()
    file.put(catalog, f"<< /Type /Catalog /Pages {tree} 0 R >>")
    file.put(tree, f"<< /Type /Pages /Count {count} /Kids [{kids}] >>")
    for other in others:
        file.put(file.reserve(), other)
    return file.written(catalog, 0)


class _File:
    """Objects, numbered from 1."""

    def __init__(self, password: str | None) -> None:
        self._bodies: list[bytes] = []
        self._secret = None if password is None else _Secret(password)

    def reserve(self) -> int:
        self._bodies.append(b"null")
        return len(self._bodies)

    def put(self, number: int, body: str | bytes) -> None:
        self._bodies[number - 1] = body.encode() if isinstance(body, str) else body

    def add_stream(self, data: bytes, entries: str = "") -> int:
        number = self.reserve()
        packed = self._sealed(zlib.compress(data), number)
        head = f"<< /Length {len(packed)} /Filter /FlateDecode {entries} >>\nstream\n".encode()
        self.put(number, head + packed + b"\nendstream")
        return number

    def string(self, text: str, number: int) -> bytes:
        """Write a string that lies in this object."""
        data = text.encode() if text.isascii() else b"\xfe\xff" + text.encode("utf-16-be")
        return b"<" + self._sealed(data, number).hex().encode() + b">"

    def written(self, catalog: int, info: int) -> bytes:
        parts = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"]
        length, offsets = len(parts[0]), []
        for number, body in enumerate(self._bodies, 1):
            offsets.append(length)
            parts.append(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
            length += len(parts[-1])
        rows = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
        parts.append(f"xref\n0 {len(offsets) + 1}\n0000000000 65535 f \n{rows}".encode())
        entries = f"/Size {len(offsets) + 1} /Root {catalog} 0 R"
        entries += f" /Info {info} 0 R" if info else ""
        entries += self._secret.entry if self._secret else ""
        parts.append(f"trailer\n<< {entries} >>\nstartxref\n{length}\n%%EOF\n".encode())
        return b"".join(parts)

    def _sealed(self, data: bytes, number: int) -> bytes:
        return self._secret.seal(data, number) if self._secret else data


class _Secret:
    """Encryption with RC4 and 40 bits: revision 2 of the standard handler."""

    def __init__(self, password: str) -> None:
        padded = (password.encode("latin-1") + _PADDING)[:32]
        owner = _rc4(hashlib.md5(padded).digest()[:5], padded)  # noqa: S324 - the format's
        rights = (_MAY_ALL & 0xFFFFFFFF).to_bytes(4, "little")
        self._key = hashlib.md5(padded + owner + rights + _ID).digest()[:5]  # noqa: S324
        user = _rc4(self._key, _PADDING)
        self.entry = (
            f" /ID [<{_ID.hex()}> <{_ID.hex()}>] /Encrypt << /Filter /Standard /V 1 /R 2"
            f" /O <{owner.hex()}> /U <{user.hex()}> /P {_MAY_ALL} >>"
        )

    def seal(self, data: bytes, number: int) -> bytes:
        salted = self._key + number.to_bytes(3, "little") + bytes(2)
        return _rc4(hashlib.md5(salted).digest()[:10], data)  # noqa: S324


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def _escaped(text: str) -> bytes:
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return escaped.encode("cp1252")


def _to_unicode(unicode: Mapping[int, str]) -> bytes:
    rows = "".join(
        f"<{code:02x}> <{text.encode('utf-16-be').hex()}>\n" for code, text in unicode.items()
    )
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
        "1 begincodespacerange <00> <ff> endcodespacerange\n"
        f"{len(unicode)} beginbfchar\n{rows}endbfchar endcmap end end"
    ).encode()


def _add_outline(file: _File, marks: Sequence[Mark], kids: Sequence[int]) -> str:
    if not marks:
        return ""
    root = file.reserve()
    numbers = [file.reserve() for _ in marks]
    below: dict[int, list[int]] = {root: []}
    path: list[int] = [root]
    for number, mark in zip(numbers, marks, strict=True):
        path = [*path[: mark.level + 1], number]
        below.setdefault(path[-2], []).append(number)
    parents = {child: parent for parent, found in below.items() for child in found}
    for number, mark in zip(numbers, marks, strict=True):
        beside = below[parents[number]]
        at = beside.index(number)
        entries = f"/Parent {parents[number]} 0 R /Dest [{kids[mark.page]} 0 R /Fit]"
        entries += f" /Next {beside[at + 1]} 0 R" if at + 1 < len(beside) else ""
        entries += f" /Prev {beside[at - 1]} 0 R" if at else ""
        entries += _ends(below.get(number, []))
        title = file.string(mark.title, number)
        file.put(number, b"<< /Title " + title + f" {entries} >>".encode())
    file.put(root, f"<< /Type /Outlines {_ends(below[root])} >>")
    return f"/Outlines {root} 0 R "


def _ends(found: Sequence[int]) -> str:
    return f" /First {found[0]} 0 R /Last {found[-1]} 0 R /Count {len(found)}" if found else ""


def _add_attached(file: _File, attached: Mapping[str, bytes]) -> str:
    if not attached:
        return ""
    tree, names = file.reserve(), b""
    for name, data in sorted(attached.items()):
        stream = file.add_stream(data, "/Type /EmbeddedFile")
        entry = file.reserve()
        title = file.string(name, entry)
        file.put(
            entry,
            b"<< /Type /Filespec /F "
            + title
            + b" /UF "
            + title
            + f" /EF << /F {stream} 0 R >> >>".encode(),
        )
        names += file.string(name, tree) + f" {entry} 0 R ".encode()
    file.put(tree, b"<< /Names [ " + names + b"] >>")
    return f"/Names << /EmbeddedFiles {tree} 0 R >> "
