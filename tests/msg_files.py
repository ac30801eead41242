"""Writes small Outlook messages: compound files with the properties that tests need."""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Union

_SMALL = 4096
_FREE, _END, _FAT, _NONE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
_STORAGE, _STREAM, _ROOT = 1, 2, 5

Folder = Mapping[str, Union[bytes, "Folder"]]
Value = str | bytes | int | datetime


class File(NamedTuple):
    """An attachment; of a message the properties."""

    name: str
    data: "bytes | Folder"
    others: Mapping[int, Value] = {}


def msg(  # noqa: PLR0913 - one message has many sides
    *,
    subject: str = "",
    sender: tuple[str, str] = ("", ""),
    to: Sequence[tuple[str, str]] = (),
    cc: Sequence[tuple[str, str]] = (),
    body: str = "",
    attached: Sequence[File] = (),
    others: Mapping[int, Value] | None = None,
    code_page: int = 0,
) -> bytes:
    """Write a message; `code_page` makes it one of the time before Unicode."""
    folder = message(
        subject=subject,
        sender=sender,
        to=to,
        cc=cc,
        body=body,
        attached=attached,
        others=others,
        code_page=code_page,
        head=32,
    )
    return compound({**folder, "__nameid_version1.0": {"__substg1.0_00020102": b""}})


def message(  # noqa: PLR0913 - one message has many sides
    *,
    subject: str = "",
    sender: tuple[str, str] = ("", ""),
    to: Sequence[tuple[str, str]] = (),
    cc: Sequence[tuple[str, str]] = (),
    body: str = "",
    attached: Sequence[File] = (),
    others: Mapping[int, Value] | None = None,
    code_page: int = 0,
    head: int = 24,
) -> Folder:
    """Write a message as it lies in another."""
    own: dict[int, Value] = {0x0037: subject, 0x0C1A: sender[0], 0x5D01: sender[1], 0x1000: body}
    own |= {0x3FFD: code_page, 0x3FDE: code_page} if code_page else {}
    folder = dict(_properties(own | dict(others or {}), head, code_page))
    people = [(*one, 1) for one in to] + [(*one, 2) for one in cc]
    for number, (name, address, kind) in enumerate(people):
        about: dict[int, Value] = {0x3001: name, 0x39FE: address, 0x0C15: kind}
        folder[f"__recip_version1.0_#{number:08X}"] = _properties(about, 8, code_page)
    for number, file in enumerate(attached):
        folder[f"__attach_version1.0_#{number:08X}"] = _attachment(file, code_page)
    return folder


def _attachment(file: File, code_page: int) -> Folder:
    is_message = not isinstance(file.data, bytes)
    own: dict[int, Value] = {0x3707: file.name, 0x3705: 5 if is_message else 1}
    inside = {"__substg1.0_3701000D" if is_message else "__substg1.0_37010102": file.data}
    return {**_properties(own | dict(file.others), 8, code_page), **inside}


def _properties(values: Mapping[int, Value], head: int, code_page: int) -> Folder:
    streams: dict[str, bytes] = {}
    rows = bytes(head)
    for number, value in values.items():
        if isinstance(value, int):
            rows += struct.pack("<HHIQ", 0x0003, number, 6, value)
        elif isinstance(value, datetime):
            past = value - datetime(1601, 1, 1, tzinfo=UTC)
            rows += struct.pack("<HHIQ", 0x0040, number, 6, int(past.total_seconds() * 10**7))
        elif value:
            kind, data = _written(value, code_page)
            streams[f"__substg1.0_{number:04X}{kind:04X}"] = data
            rows += struct.pack("<HHIQ", kind, number, 6, len(data))
    return {**streams, "__properties_version1.0": rows}


def _written(value: str | bytes, code_page: int) -> tuple[int, bytes]:
    if isinstance(value, bytes):
        return 0x0102, value
    if code_page:
        return 0x001E, value.encode(f"cp{code_page}")
    return 0x001F, value.encode("utf-16-le")


class _Entry(NamedTuple):
    name: str
    kind: int
    data: bytes
    children: list[int]


def compound(root: Folder) -> bytes:
    """Write a compound file (MS-CFB, version 3)."""
    entries = [_Entry("Root Entry", _ROOT, b"", [])]
    _list(root, entries, entries[0])
    large, small = _Chains(512), _Chains(64)
    begins = [(small if len(one.data) < _SMALL else large).add(one.data) for one in entries]
    contents = b"".join(small.sectors)
    entries[0] = entries[0]._replace(data=contents)
    begins[0] = large.add(contents)
    small_table = large.add(small.written_table(small.count * 4))
    directory = large.add(_directory(entries, begins))
    size = 1
    while (large.count + size) * 4 > size * 512:
        size += 1
    own = range(large.count, large.count + size)
    large.table += [_FAT] * size
    head = struct.pack(
        "<8s16sHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        size,
        directory,
        0,
        _SMALL,
        small_table,
        -(-small.count * 4 // 512),
        _END,
        0,
    )
    listed = struct.pack("<109I", *own, *[_FREE] * (109 - size))
    return head + listed + b"".join(large.sectors) + large.written_table(size * 512)


class _Chains:
    """Sectors of one size, and the table of which follows which."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.sectors: list[bytes] = []
        self.table: list[int] = []

    @property
    def count(self) -> int:
        return len(self.table)

    def add(self, data: bytes) -> int:
        """Append what fills some sectors, and give the number of the first."""
        if not data:
            return _END
        begin, count = self.count, -(-len(data) // self._size)
        self.sectors.append(data.ljust(count * self._size, b"\0"))
        self.table += [*range(begin + 1, begin + count), _END]
        return begin

    def written_table(self, size: int) -> bytes:
        return struct.pack(f"<{self.count}I", *self.table).ljust(size, b"\xff")


def _list(folder: Folder, entries: list[_Entry], parent: _Entry) -> None:
    for name in sorted(folder, key=lambda name: (len(name), name.upper())):
        inside = folder[name]
        is_stream = isinstance(inside, bytes)
        entry = _Entry(name, _STREAM if is_stream else _STORAGE, inside if is_stream else b"", [])
        parent.children.append(len(entries))
        entries.append(entry)
        if not is_stream:
            _list(inside, entries, entry)


def _directory(entries: Sequence[_Entry], begins: Sequence[int]) -> bytes:
    left, right = [_NONE] * len(entries), [_NONE] * len(entries)

    def tree(numbers: Sequence[int]) -> int:
        if not numbers:
            return _NONE
        middle = len(numbers) // 2
        top = numbers[middle]
        left[top], right[top] = tree(numbers[:middle]), tree(numbers[middle + 1 :])
        return top

    tops = [tree(entry.children) for entry in entries]
    rows = [
        struct.pack(
            "<64sHBBIII16xI16xIQ",
            entry.name.encode("utf-16-le"),
            len(entry.name) * 2 + 2,
            entry.kind,
            1,
            left[number],
            right[number],
            tops[number],
            0,
            begins[number],
            len(entry.data),
        )
        for number, entry in enumerate(entries)
    ]
    return b"".join(rows)
