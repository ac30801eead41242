"""What is found inside of documents: kept in blobs until it is committed with their last parts."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from vectorflow.domain.attachments import MAX_ATTACHED, MAX_ATTACHED_BYTES, clean_name
from vectorflow.domain.documents import Attached, BlobRange, content_hash
from vectorflow.domain.formats import HEAD_BYTES
from vectorflow.errors import LimitExceeded, UnsupportedFormat
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.work import NewAttached

Detect = Callable[[str, bytes], str]
"""Name and first bytes of a document -> its extractor; raises UnsupportedFormat."""

SHARED_BYTES = 4 << 20
"""Attachments share a blob up to this many bytes."""


class _Unwritten(NamedTuple):
    version: int
    place: int
    """Of the attachment among those of its version."""
    data: bytes


@dataclass(slots=True)
class _Inside:
    """What was found in one document so far."""

    found: list[NewAttached] = field(default_factory=list[NewAttached])
    known: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Names and hashes: the same file twice is one document."""
    size: int = 0


class Attachments:
    """Keeps what is attached to the documents of one batch; memory holds a blob's worth."""

    def __init__(self, blobs: BlobStore, detect: Detect, extractors: Container[str]) -> None:
        """Take the blobs of the lease.

        `extractors` are those that its recipe knows; what another one reads is not supported.
        """
        self._blobs = blobs
        self._detect = detect
        self._extractors = extractors
        self._inside: defaultdict[int, _Inside] = defaultdict(_Inside)
        self._unwritten: list[_Unwritten] = []

    async def add(self, version: int, piece: Attached) -> None:
        """Take what was found in a document version.

        Raises:
            LimitExceeded: It is too much for one document.
        """
        inside = self._inside[version]
        inside.size += len(piece.data)
        _check(inside)
        new = await asyncio.to_thread(self._read, piece)
        if (new.name, new.raw_hash) in inside.known:
            return
        inside.known.add((new.name, new.raw_hash))
        if new.extractor:
            self._unwritten.append(_Unwritten(version, len(inside.found), piece.data))
        inside.found.append(new)
        if sum(len(one.data) for one in self._unwritten) >= SHARED_BYTES:
            await self._write()

    async def take(self, version: int) -> tuple[NewAttached, ...]:
        """Give what was found in a document version, durable, and forget it."""
        await self._write()
        return tuple(self._inside.pop(version, _Inside()).found)

    def count(self, version: int) -> int:
        """Count what was found in a document version so far."""
        return len(self._inside[version].found) if version in self._inside else 0

    def drop(self, version: int) -> None:
        """Forget what was found in a document that failed."""
        self._inside.pop(version, None)
        self._unwritten = [one for one in self._unwritten if one.version != version]

    def _read(self, piece: Attached) -> NewAttached:
        """Hash it and tell what reads it."""
        name, digest = clean_name(piece.name), content_hash(piece.data)
        try:
            extractor = self._extractor(name, piece.data[:HEAD_BYTES])
        except UnsupportedFormat as error:
            return NewAttached(
                name=name,
                raw_hash=digest,
                extractor="",
                source=None,
                reason=error.message,
                fix=error.fix,
            )
        source = BlobRange(blob="", start=0, length=len(piece.data))
        return NewAttached(name=name, raw_hash=digest, extractor=extractor, source=source)

    def _extractor(self, name: str, head: bytes) -> str:
        found = self._detect(name, head)
        if found not in self._extractors:
            message = f"this job was sent before there was an extractor of {found} files"
            raise UnsupportedFormat(message, fix="send the document again")
        return found

    async def _write(self) -> None:
        """Write what is in memory into one blob."""
        unwritten, self._unwritten = self._unwritten, []
        if not unwritten:
            return
        key, start = f"attached/{uuid.uuid4().hex}", 0
        await self._blobs.put(key, [one.data for one in unwritten])
        for one in unwritten:
            source = BlobRange(blob=key, start=start, length=len(one.data))
            found = self._inside[one.version].found
            found[one.place] = replace(found[one.place], source=source)
            start += len(one.data)


def _check(inside: _Inside) -> None:
    if len(inside.found) >= MAX_ATTACHED:
        message = f"it has more than {MAX_ATTACHED:,} attachments"
        raise LimitExceeded("entries", message)
    if inside.size > MAX_ATTACHED_BYTES:
        message = f"its attachments have more than {MAX_ATTACHED_BYTES >> 20} MiB"
        raise LimitExceeded("size", message)
