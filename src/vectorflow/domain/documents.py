"""What is sent in, and the text that comes out of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from vectorflow.errors import DocumentFailed

MAX_SECTION = 1 << 18
"""Characters of one section at most; it bounds the memory of extraction and chunking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A stretch of a document that no chunk crosses; sections follow each other without gaps."""

    text: str
    start: int
    """Characters of the document before this section."""
    headings: tuple[str, ...] = ()
    """Path of the headings above, the outermost first."""
    page: int | None = None
    """Counted from 1; None where the type has no pages."""


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
