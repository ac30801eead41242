"""The blobs of a lease: read and written while it is current."""

import asyncio
import io
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from vectorflow.api.desk import Desk
from vectorflow.api.uploads import body_blocks, no_room
from vectorflow.api.workers import leases_of, owner_of
from vectorflow.domain.attachments import MAX_ATTACHED, MAX_ATTACHED_BYTES
from vectorflow.errors import Forbidden, InvalidInput, NotFound, OutOfSpace, TooLarge
from vectorflow.ports.work import NewAttached

READ = frozenset({"uploads", "attached", "manifests", "vectors"})
WRITTEN = frozenset({"attached", "manifests", "vectors"})
"""Kinds of blobs. Nothing is deleted: what nobody refers to is collected as garbage."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_HASH = re.compile(r"[0-9a-f]{32}")
_BLOCK = 1 << 18

MAX_OFFSET = 1 << 62
MAX_EXTRACTOR = 64
"""Characters of the name of an extractor."""

Kind = Annotated[str, Path()]
Start = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Length = Annotated[int | None, Query(ge=0, le=MAX_OFFSET)]


def blob_routes(desk: Desk) -> APIRouter:
    """Make the routes of blobs."""
    router = APIRouter(prefix="/blobs")

    @router.get("/{kind}/{name}")
    async def read(
        request: Request, kind: Kind, name: Kind, start: Start = 0, length: Length = None
    ) -> Response:
        """Send a stretch of a blob."""
        owner = owner_of(request, desk)
        key = _key(kind, name, READ)
        await desk.check(owner, leases_of(request))
        file = await asyncio.to_thread(desk.blobs.open, key, start, length)
        size = await asyncio.to_thread(_size, file)
        return StreamingResponse(
            _blocks(file),
            media_type="application/octet-stream",
            headers={"Content-Length": str(size)},
        )

    @router.put("/{kind}/{name}")
    async def write(request: Request, kind: Kind, name: Kind) -> Response:
        """Keep a blob; it is durable when this is answered."""
        owner = owner_of(request, desk)
        if kind in READ - WRITTEN:
            raise Forbidden(f"workers write no {kind}")
        key = _key(kind, name, WRITTEN)
        await desk.check(owner, leases_of(request))
        most, idle = desk.limits.blob_bytes, desk.limits.idle_seconds
        too_large = TooLarge("the blob is too large", fix=f"send at most {most} bytes")
        try:
            async with aclosing(body_blocks(request, most, too_large, idle_seconds=idle)) as body:
                await desk.blobs.put(key, body)
        except OutOfSpace as error:
            raise no_room() from error
        return Response(status_code=204)

    return router


def check_key(key: str, kind: str) -> None:
    """See that a worker refers to a blob of this kind and no other.

    Raises:
        InvalidInput: It does not.
    """
    found, _, name = key.partition("/")
    if found != kind or not _NAME.fullmatch(name):
        message = f"the body names a blob that is none of {kind}"
        raise InvalidInput(message, fix="run the same release on both sides")


def check_attached(attached: Sequence[NewAttached]) -> None:
    """See that what a worker found in a document can be kept, and lies where it may.

    Raises:
        InvalidInput: It cannot, or does not.
    """
    fix = "run the same release on both sides"
    if len(attached) > MAX_ATTACHED:
        raise InvalidInput("the body has too many attachments of one document", fix=fix)
    for one in attached:
        if one.source is not None:
            check_key(one.source.blob, "attached")
        if not _can_be_kept(one):
            raise InvalidInput("the body describes an attachment that cannot be", fix=fix)


def _can_be_kept(one: NewAttached) -> bool:
    named = len(one.extractor) <= MAX_EXTRACTOR and _HASH.fullmatch(one.raw_hash) is not None
    if one.source is None:
        return named
    length_fits = 0 <= one.source.length <= MAX_ATTACHED_BYTES
    return named and length_fits and 0 <= one.source.start <= MAX_OFFSET


def _key(kind: str, name: str, kinds: frozenset[str]) -> str:
    if kind not in kinds or not _NAME.fullmatch(name):
        raise NotFound("there is no such blob")
    return f"{kind}/{name}"


def _size(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


async def _blocks(file: BinaryIO) -> AsyncGenerator[bytes]:
    with file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block
