"""Bytes of a mail -> its parts, within limits."""

import re
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import BytesFeedParser
from email.policy import Compat32, Policy
from itertools import chain, count
from typing import BinaryIO, NamedTuple

from vectorflow.errors import LimitExceeded

MAX_PARTS = 1000
"""Of one mail, with those of mails that are attached to it."""

MAX_DEPTH = 50
"""Parts inside of parts."""

_BLOCK_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_MAILBOX = b"From "
_BETWEEN = re.compile(rb"From [^\n]*\d\d:\d\d[^\n]*\d{4}[^\n]*\n")
"""The line before each mail of a mailbox."""


class Leaf(NamedTuple):
    """A part that has no parts of its own."""

    part: Message
    shown: bool
    """False in what an alternative to it is shown for."""
    related: bool
    """Belongs to a page, as its pictures do."""


class _Headers(Compat32):
    """Gives headers as they were written; bytes that are not ASCII are lone surrogates."""

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002 - the policy's form
        return value.strip()


def mails(source: BinaryIO) -> Iterator[Message]:
    """Parse a mail, or those of a mailbox one by one.

    Raises:
        LimitExceeded: `entries` or `depth`.
    """
    head = b""
    while len(head) < len(_MAILBOX) and (block := source.read(_BLOCK_BYTES)):
        head = (head + block).removeprefix(_BOM).lstrip(b"\r\n")
    blocks = chain((head,), iter(lambda: source.read(_BLOCK_BYTES), b""))
    if head.startswith(_MAILBOX):
        yield from map(_parsed, _parted(_lines(blocks)))
    elif head:
        yield _parsed(blocks)


def leaves(part: Message, *, shown: bool = True, related: bool = False) -> Iterator[Leaf]:
    """Give the parts of a parsed mail in order; of an attached mail, the mail."""
    if not is_multipart(part):
        yield Leaf(part, shown, related)
        return
    inner = children(part)
    related = part.get_content_subtype() == "related"
    choice = part.get_content_subtype() == "alternative"
    best = min(inner, key=_rank, default=None) if choice else None
    for child in inner:
        yield from leaves(child, shown=shown and (best is None or best is child), related=related)


def is_multipart(part: Message) -> bool:
    """Tell whether it consists of parts, and not only claims it."""
    return part.is_multipart() and part.get_content_maintype() == "multipart"


def children(part: Message) -> list[Message]:
    """Give the parts of a part, or the mail that one is; empty where it is neither."""
    if not part.is_multipart():
        return []
    found: list[object] = list(part.get_payload())
    return [child for child in found if isinstance(child, Message)]


def _parsed(blocks: Iterable[bytes]) -> Message:
    numbers = count(1)

    def counted(policy: "Policy[Message]") -> Message:
        if next(numbers) > MAX_PARTS:
            raise LimitExceeded("entries", f"the mail has more than {MAX_PARTS} parts")
        return Message(policy)

    parser = BytesFeedParser(policy=_Headers(message_factory=counted))
    try:
        for block in blocks:
            parser.feed(block)
        parsed = parser.close()
    except RecursionError:
        raise _too_deep() from None
    _check_depth(parsed)
    return parsed


def _check_depth(parsed: Message) -> None:
    level, depth = [parsed], 0
    while level:
        if depth > MAX_DEPTH:
            raise _too_deep()
        level, depth = [child for part in level for child in children(part)], depth + 1


def _too_deep() -> LimitExceeded:
    return LimitExceeded("depth", f"the mail has parts more than {MAX_DEPTH} deep in each other")


def _rank(alternative: Message) -> int:
    """Prefer plain text, then HTML."""
    texts = [part for part in alternative.walk() if part.get_content_maintype() == "text"]
    if any(part.get_content_type() == "text/plain" and _is_written(part) for part in texts):
        return 0
    return 1 if any(part.get_content_type() == "text/html" for part in texts) else 2


def _is_written(part: Message) -> bool:
    try:
        return str(part.get_payload()).strip() != ""
    except (TypeError, ValueError):  # it decodes some by the charset that they claim
        return True


def _parted(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Give the lines of each mail of a mailbox."""
    held: list[bytes] = []
    blank = False
    for line in lines:
        if blank and _BETWEEN.match(line):
            yield held
            held = []
        held.append(line)
        blank = line in {b"\n", b"\r\n"}
    yield held


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    begun: list[bytes] = []
    for block in blocks:
        first, *more = block.split(b"\n")
        begun.append(first)
        for line in more:
            yield b"".join(begun) + b"\n"
            begun = [line]
    yield b"".join(begun)
