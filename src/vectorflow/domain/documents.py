"""What is sent in, and the text that comes out of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vectorflow.errors import DocumentFailed

MAX_SECTION = 1 << 18
"""Characters of one section at most; it bounds the memory of extraction and chunking."""


class SectionKind(StrEnum):
    """What a section is made of, as far as it matters where it is cut."""

    TEXT = "text"
    TABLE = "table"
    """Rows, one a line."""
    CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A stretch of a document that no chunk crosses; sections follow each other without gaps.

    Structure inside of it is written as Markdown: lists, emphasis, links, tables, fenced code.
    """

    text: str
    start: int
    """Characters of the document before this section."""
    headings: tuple[str, ...] = ()
    """Path of the headings above, the outermost first; names of slides and sheets too."""
    page: int | None = None
    """Page or slide, counted from 1; None where the type has none."""
    kind: SectionKind = SectionKind.TEXT
    header: str = ""
    """Of a table: the lines that name its columns, repeated before rows that are cut from them.

    The first section of a table begins with them; further ones hold rows alone.
    """
    language: str = ""
    """Of code: what it is written in, in lower case; empty where nobody said."""
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the whole document says of itself: title, author, created, ...; kept on its records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A document inside of a document: it gets an external id and versions of its own."""

    name: str
    """File name, as the outer document has it."""
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRange:
    """Where a document's raw bytes lie: small documents share one blob."""

    blob: str
    start: int
    length: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One document that a source lists, not yet read."""

    external_id: str
    """Unique in its index; for files the path relative to the root."""
    uri: str
    size: int
    """Bytes; 0 where the source does not know."""
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    failure: DocumentFailed | None = None
    """Set when the source could not even open it."""


def content_hash(data: bytes) -> str:
    """Hash raw bytes: 32 hexadecimal characters of BLAKE2b."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def canonical_json(value: object) -> str:
    """Write JSON so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
