"""OLE compound files and binary Word documents written by hand."""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SECTOR = 512
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_LEAST = 4096
"""Bytes of a stream: shorter ones would lie in another stream."""

_NAMES = ["main", "footnotes", "headers", "macros", "comments", "endnotes", "boxes", "header_boxes"]
_TEXT_AT = 0x800
_STYLES, _CHARACTERS, _PARAGRAPHS, _PIECES = 1, 12, 13, 33


def compound(streams: Mapping[str, bytes]) -> bytes:
    """Write a compound file; streams are filled up with zeros."""
    bodies = [_padded(data.ljust(_LEAST, b"\0")) for data in streams.values()]
    directory_size = -(-(len(bodies) + 1) // 4)
    used = directory_size + sum(len(body) // _SECTOR for body in bodies)
    fats = next(count for count in range(1, 110) if count * 128 >= used + count)
    table = [_FAT] * fats
    table += _chain(len(table), directory_size)
    starts = []
    for body in bodies:
        starts.append(len(table))
        table += _chain(len(table), len(body) // _SECTOR)
    table += [_FREE] * (fats * 128 - len(table))
    order = sorted(range(len(bodies)), key=lambda at: (len([*streams][at]), [*streams][at].upper()))
    entries = [_entry("Root Entry", 5, child=order[0] + 1)]
    for at, (name, body) in enumerate(zip(streams, bodies, strict=True)):
        after = order[order.index(at) + 1 :]
        right = after[0] + 1 if after else _FREE
        entries.append(_entry(name, 2, right=right, start=starts[at], size=len(body)))
    header = struct.pack(
        "<8s16sHHHHH6xIII4xIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6,
        0, fats, fats, _LEAST, _END, 0, _END, 0,
    )  # fmt: skip
    listed = struct.pack("<109I", *range(fats), *[_FREE] * (109 - fats))
    directory = _padded(b"".join(entries))
    return header + listed + struct.pack(f"<{len(table)}I", *table) + directory + b"".join(bodies)


def _chain(begin: int, count: int) -> list[int]:
    return [*range(begin + 1, begin + count), _END]


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _SECTOR)


def _entry(
    name: str,
    kind: int,
    *,
    child: int = _FREE,
    right: int = _FREE,
    start: int = _END,
    size: int = 0,
) -> bytes:
    text = name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII16s4x16xIII",
        text,
        len(text) + 2,
        kind,
        1,
        _FREE,
        right,
        child,
        b"",
        start,
        size,
        0,
    )


class Paragraph(NamedTuple):
    """A paragraph of a binary Word document."""

    text: str
    style: int = 0
    """0 is plain, 1 and 2 are headings, 3 the title, 4 is based on the second heading."""
    looks: bytes = b""
    """Codes and their operands."""
    mark: str = "\r"


IN_TABLE = struct.pack("<HB", 0x2416, 1)
ENDS_ROW = IN_TABLE + struct.pack("<HB", 0x2417, 1)


def row(*cells: str) -> list[Paragraph]:
    """Write a row of a table."""
    inside = [Paragraph(cell, looks=IN_TABLE, mark="\x07") for cell in cells]
    return [*inside, Paragraph("", looks=ENDS_ROW, mark="\x07")]


def doc(
    paragraphs: Sequence[Paragraph],
    *,
    wide: bool = False,
    hidden: Mapping[str, int] | None = None,
    flags: int = 0,
    version: int = 0x00C1,
    **stories: str,
) -> bytes:
    """Write a binary Word document.

    Args:
        paragraphs: Of the main story.
        wide: Whether characters have two bytes.
        hidden: A word of the text -> the code that takes it away.
        flags: Further flags of the header.
        version: `nFib`.
        stories: Further text: `footnotes`, `headers`, `boxes`, ...
    """
    texts = {"main": "".join(one.text + one.mark for one in paragraphs), **stories}
    whole = "".join(texts.get(name, "") for name in _NAMES)
    codec = "utf-16-le" if wide else "cp1252"
    lengths = [len(texts.get(name, "").encode(codec)) // (2 if wide else 1) for name in _NAMES]
    raw = whole.encode(codec)
    main = bytearray(_padded(b"\0" * _TEXT_AT + raw))
    pages = {
        _PARAGRAPHS: _paragraph_pages(paragraphs, codec),
        _CHARACTERS: _hidden(raw, codec, hidden),
    }
    parts = {
        _STYLES: _style_sheet(),
        _PIECES: struct.pack(
            "<BIIIHIH", 2, 16, 0, sum(lengths), 0,
            _TEXT_AT if wide else _TEXT_AT * 2 | 0x40000000, 0,
        ),
    }  # fmt: skip
    for place, listed in pages.items():
        first = len(main) // _SECTOR
        bounds = [begin for begin, _ in listed] + [_TEXT_AT + len(raw)]
        numbers = range(first, first + len(listed))
        parts[place] = struct.pack(f"<{len(bounds)}I{len(listed)}I", *bounds, *numbers)
        main += b"".join(page for _, page in listed)
    struct.pack_into("<HH", main, 0, 0xA5EC, version)
    struct.pack_into("<H", main, 0x0A, 0x0200 | flags)
    struct.pack_into("<8I", main, 0x4C, *lengths)
    table = b""
    for place, part in parts.items():
        struct.pack_into("<II", main, 0x9A + 8 * place, len(table), len(part))
        table += part
    return compound({"WordDocument": bytes(main), "1Table": table})


def _paragraph_pages(paragraphs: Sequence[Paragraph], codec: str) -> list[tuple[int, bytes]]:
    pages, at = [], _TEXT_AT
    for begin in range(0, len(paragraphs), 10):
        group, bounds, looks = paragraphs[begin : begin + 10], [at], []
        for one in group:
            at += len((one.text + one.mark).encode(codec))
            bounds.append(at)
            held = struct.pack("<H", one.style) + one.looks
            looks.append(bytes([0, (len(held) + 1) // 2]) + held)
        pages.append((bounds[0], _page(bounds, looks, 13)))
    return pages


def _hidden(raw: bytes, codec: str, hidden: Mapping[str, int] | None) -> list[tuple[int, bytes]]:
    bounds, looks = [_TEXT_AT], []
    for word, code in (hidden or {}).items():
        at = _TEXT_AT + raw.index(word.encode(codec))
        bounds += [at, at + len(word.encode(codec))]
        looks += [b"", b"\3" + struct.pack("<HB", code, 1)]
    return [(_TEXT_AT, _page([*bounds, _TEXT_AT + len(raw)], [*looks, b""], 1))]


def _page(bounds: Sequence[int], looks: Sequence[bytes], width: int) -> bytes:
    """Write a page of formatting: bounds, places, then from its end the looks."""
    page, end = bytearray(_SECTOR), _SECTOR - 2
    struct.pack_into(f"<{len(bounds)}I", page, 0, *bounds)
    for number, look in enumerate(looks):
        if look:
            end = (end - len(look)) // 2 * 2
            page[end : end + len(look)] = look
            page[4 * len(bounds) + width * number] = end // 2
    page[-1] = len(looks)
    return bytes(page)


def _style_sheet() -> bytes:
    styles = ((0, 0xFFF), (1, 0xFFF), (2, 0xFFF), (62, 0xFFF), (0xFFE, 2))
    sheet = struct.pack("<HHH14x", 18, len(styles), 10)
    for built_in, base in styles:
        sheet += struct.pack("<HHH6x", 10, built_in, base << 4 | 1)
    return sheet
