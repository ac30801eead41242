"""XML of any vocabulary."""

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from vectorflow.adapters._blocks import Block, sections
from vectorflow.adapters._whole import steps
from vectorflow.adapters._xml_outline import Outline
from vectorflow.domain.documents import Attached, Section
from vectorflow.errors import BrokenFile, LimitExceeded, UnsupportedFormat
from vectorflow.ports.extractor import Extractor

if TYPE_CHECKING:
    from xml.parsers.expat import XMLParserType

MAX_TOKEN = 8 << 20
"""Bytes of a tag, a comment or the like, which Expat holds in memory until it ends."""

_STEP = 1 << 16
"""Bytes that are parsed at once."""

_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
_OWN = frozenset({"utf-8", "utf-16", "iso8859-1", "ascii"})
"""Encodings that Expat reads itself."""


class XmlExtractor(Extractor):
    """Gives text in the order of the document, with the names of elements where it is data.

    It is read as it comes. Documents that declare entities are refused, and nothing that they
    refer to is fetched.
    """

    revision: ClassVar[int] = 1
    suffixes: ClassVar[tuple[str, ...]] = (".xml", ".rss", ".atom")

    def extract(self, source: BinaryIO) -> Iterator[Section | Attached]:
        return sections(_blocks(source))


def _blocks(source: BinaryIO) -> Iterator[Block]:
    from xml.parsers import expat  # noqa: PLC0415 - takes time to import

    outline = Outline()
    fed = 0
    try:
        encoding, pieces = _decodable(source)
        parser = expat.ParserCreate(encoding)
        _connect(parser, outline)
        for piece in pieces:
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > MAX_TOKEN:
                raise LimitExceeded("size", f"a tag or a comment has more than {MAX_TOKEN:,} bytes")
            yield from outline.taken()
        if fed:
            parser.Parse(b"", True)
    except expat.ExpatError as error:
        # Not `from error`: it may name what is in the document.
        message = f"no XML from line {error.lineno:,}, column {error.offset:,}"
        raise BrokenFile(message) from None
    except UnicodeError:
        raise BrokenFile("it is not in the encoding that it declares") from None
    yield from outline.taken()


def _connect(parser: "XMLParserType", outline: Outline) -> None:
    parser.buffer_text = True
    parser.buffer_size = _STEP
    parser.StartElementHandler = outline.start
    parser.EndElementHandler = outline.end
    parser.CharacterDataHandler = outline.text
    parser.SkippedEntityHandler = outline.entity
    parser.EntityDeclHandler = _refuse_entity


def _decodable(source: BinaryIO) -> tuple[str | None, Iterator[bytes]]:
    """Give a source in an encoding that Expat knows, and its name if it is not the declared one."""
    blocks = steps(source, _STEP)
    head = next(blocks, b"").lstrip(b" \t\r\n")
    raw = chain((head,) if head else (), blocks)
    found = _DECLARED.match(head)
    encoding = _encoding(found[1]) if found else "utf-8"
    if encoding in _OWN:
        return None, raw
    return "utf-8", _recoded(raw, encoding)


def _recoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    for block in blocks:
        yield decoder.decode(block).encode()
    yield decoder.decode(b"", final=True).encode()


def _encoding(declared: bytes) -> str:
    try:
        codec = codecs.lookup(declared.decode())
        b"a".decode(codec.name)
    except (LookupError, ValueError):  # it may name any codec, also one that makes no text
        raise BrokenFile("it declares an encoding that nobody knows") from None
    # UTF-16 that could be read this far is not what it declares; Expat says so.
    return "utf-16" if codec.name.startswith("utf-16") else codec.name


def _refuse_entity(*_declared: object) -> None:
    message = "an XML document that declares entities, which could stand for anything"
    raise UnsupportedFormat(message, fix="write it with its entities replaced by what they mean")
