"""Forms, read while they arrive: a file goes to the blob store block by block."""

import asyncio
import hashlib
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from email.message import Message as HeaderParser
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from vectorflow.api.backend import Limits
from vectorflow.domain.formats import HEAD_BYTES
from vectorflow.errors import InvalidInput, OutOfSpace, TooLarge
from vectorflow.ports.blob_store import BlobStore

FORM_OVERHEAD = 1 << 20
"""Bytes that a body may have beside its file."""

_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file, durable in the blob store."""

    part: str
    """Name of the form part it came in."""
    name: str
    """As the client sent it: data, never a path."""
    blob: str
    size: int
    digest: str
    """Content hash, 32 hexadecimal characters."""
    blank: bool
    """There is nothing but white space in it."""
    head: bytes = b""
    """Its first bytes, `HEAD_BYTES` at most."""


@dataclass(slots=True, kw_only=True)
class Form:
    """What a request carried."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    files: list[Upload] = field(default_factory=list[Upload])


class FileHeader(NamedTuple):
    """A part begins: a file, or a plain field."""

    name: str
    file_name: str | None
    """None for a plain field."""


class _End(NamedTuple):
    """A part ends."""


_Event = FileHeader | bytes | _End


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What files a form may hold."""

    part: str
    """Name of the only parts that may be files."""
    files: int
    file_bytes: int
    body_bytes: int
    """Of all files."""


async def receive_form(request: Request, blobs: BlobStore, limits: Limits, rules: Rules) -> Form:
    """Read a form; its files are kept, unless it is refused.

    Args:
        request: Its body was not touched yet.
        blobs: Where files go.
        limits: What is too much.
        rules: What files it may hold.

    Raises:
        InvalidInput: It is not a form, or not one that we take.
        TooLarge: More bytes or parts than the limits allow; said as soon as it is known.
        OutOfSpace: There is no room.
    """
    form = Form()
    too_large = _too_large(rules.body_bytes)
    most = rules.body_bytes + FORM_OVERHEAD
    body = body_blocks(request, most, too_large, idle_seconds=limits.idle_seconds)
    try:
        async with aclosing(body) as blocks:
            parts = limits.fields + rules.files
            reader = _FormReader(blocks, request.headers.get("content-type", ""), parts)
            async for header in reader.parts():
                if header.file_name is None:
                    _add_field(form, header.name, await _read_field(reader, header, limits))
                    continue
                _check_file(form, header, rules)
                blocks_of_file = reader.data()
                kept = await keep_file(blocks_of_file, header, blobs, rules.file_bytes)
                form.files.append(kept)
    except BaseException:
        await discard(blobs, form.files)
        raise
    return form


async def discard(blobs: BlobStore, files: Sequence[Upload]) -> None:
    """Delete files that nothing refers to."""
    if files:
        await blobs.delete([upload.blob for upload in files])


async def body_blocks(
    request: Request, most: int, too_large: TooLarge, *, idle_seconds: float
) -> AsyncGenerator[bytes]:
    """Give a body as it arrives.

    Raises:
        TooLarge: The one given: it has more than `most` bytes, or says that it will.
        HTTPException: The client went silent.
        ClientDisconnect: It went away.
    """
    if declared_length(request) > most:
        raise too_large
    received, more = 0, True
    while more:
        try:
            async with asyncio.timeout(idle_seconds):
                message = await request.receive()
        except TimeoutError as error:
            detail = "the body stopped in the middle; send the request again"
            raise HTTPException(408, detail) from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        block: bytes = message.get("body", b"")
        more = bool(message.get("more_body", False))
        received += len(block)
        if received > most:
            raise too_large
        yield block


def declared_length(request: Request) -> int:
    """Bytes of the body as the client announces it; 0 where it does not."""
    declared = request.headers.get("content-length", "")
    return int(declared[:20]) if declared.isdecimal() else 0


class _FormReader:
    """Turns the blocks of a body into parts, one at a time and never ahead of the reader."""

    def __init__(self, blocks: AsyncIterator[bytes], content_type: str, parts: int) -> None:
        self._blocks = blocks
        self._events: deque[_Event] = deque()
        self._parts_left = parts
        self._headers: dict[bytes, bytes] = {}
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._ended = False
        try:
            self._parser = MultipartParser(
                _boundary(content_type),
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_begin": self._on_header_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise _broken() from error

    async def parts(self) -> AsyncIterator[FileHeader]:
        """Give the header of each part; `data` must be read to its end before the next."""
        while (event := await self._next()) is not None:
            if isinstance(event, FileHeader):
                yield event

    async def data(self) -> AsyncIterator[bytes]:
        """Give the bytes of the part that began last."""
        while isinstance(event := await self._next(), bytes):
            yield event
        if event is None:
            raise _broken()

    async def _next(self) -> _Event | None:
        while not self._events:
            block = await anext(self._blocks, None)
            if block is None:
                if not self._ended:
                    raise _broken()
                return None
            try:
                self._parser.write(block)
            except FormParserError as error:
                raise _broken() from error
        return self._events.popleft()

    def _on_part_begin(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise TooLarge("the form has too many parts", fix="send each field once")
        self._headers = {}

    def _on_header_begin(self) -> None:
        self._header = (bytearray(), bytearray())

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise _broken()
        file_name = options.get(b"filename")
        self._events.append(
            FileHeader(
                name=_decoded(options[b"name"]),
                file_name=_extended_name(disposition) if file_name is None else _decoded(file_name),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(_End())

    def _on_end(self) -> None:
        self._ended = True


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise HTTPException(415, "the body is not a form; send it as multipart/form-data")
    if not options.get(b"boundary"):
        raise _broken()
    return options[b"boundary"]


async def _read_field(reader: _FormReader, header: FileHeader, limits: Limits) -> str:
    value = bytearray()
    async for block in reader.data():
        value += block
        if len(value) > limits.field_bytes:
            message = f"the field {header.name[:100]!r} is too long"
            raise TooLarge(message, fix=f"send at most {limits.field_bytes} bytes")
    try:
        text = value.decode()
    except UnicodeDecodeError:  # its text would quote the value
        text = "\0"
    if "\0" in text:
        raise InvalidInput(f"the field {header.name[:100]!r} is not text", fix="send it as UTF-8")
    return text


def _add_field(form: Form, name: str, value: str) -> None:
    if name in form.fields:
        raise InvalidInput(f"the field {name[:100]!r} comes twice", fix="send each field once")
    form.fields[name] = value


def _check_file(form: Form, header: FileHeader, rules: Rules) -> None:
    if header.name != rules.part:
        message = f"the form holds a file in part {header.name[:100]!r}"
        raise InvalidInput(message, fix=f"send files in parts named {rules.part}")
    if len(form.files) >= rules.files:
        most = "one file" if rules.files == 1 else f"at most {rules.files} files"
        raise InvalidInput("the form holds too many files", fix=f"send {most} in a request")


async def keep_file(
    data: AsyncIterator[bytes], header: FileHeader, blobs: BlobStore, limit: int
) -> Upload:
    """Stream one file to the blob store; nothing of it stays if it is refused.

    Raises:
        TooLarge: It has more than `limit` bytes.
        OutOfSpace: There is no room.
    """
    key = f"uploads/{uuid.uuid4().hex}"
    digest = hashlib.blake2b(digest_size=16)
    size, blank, head = 0, True, b""

    async def blocks() -> AsyncGenerator[bytes]:
        nonlocal size, blank, head
        async for block in data:
            blank = blank and _is_blank(block, first=size == 0)
            if size < HEAD_BYTES:
                head += block[: HEAD_BYTES - size]
            size += len(block)
            if size > limit:
                raise _too_large(limit)
            digest.update(block)
            yield block

    try:
        async with aclosing(blocks()) as arriving:
            await blobs.put(key, arriving)
    except OutOfSpace as error:
        raise no_room() from error
    return Upload(
        part=header.name,
        name=header.file_name or "",
        blob=key,
        size=size,
        digest=digest.hexdigest(),
        blank=blank,
        head=head,
    )


def no_room() -> OutOfSpace:
    """Refuse an upload for want of space."""
    return OutOfSpace(
        "the server has no room for uploads now",
        fix="send it again later, or free space on the server's disk",
        retry_after=60.0,
    )


def _is_blank(block: bytes, *, first: bool) -> bool:
    if first:
        for mark in _BOMS:
            block = block.removeprefix(mark)
    return not block or block.isspace()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the upload is larger than this route takes ({limit} bytes)",
        fix="send less at once, to /jobs, or raise VECTORFLOW_API__MAX_UPLOAD_BYTES"
        " (VECTORFLOW_API__MAX_BATCH_BYTES for /jobs) on the server",
    )


def _broken() -> InvalidInput:
    return InvalidInput(
        "the form cannot be read", fix="send multipart/form-data as RFC 7578 describes it"
    )


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _extended_name(disposition: bytes) -> str | None:
    """Read `filename*=utf-8''…`, which some clients send alone for names beyond ASCII."""
    if b"filename*" not in disposition.lower():
        return None
    header = HeaderParser()
    header["content-disposition"] = _decoded(disposition)
    return header.get_filename()
