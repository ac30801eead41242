"""JSON bodies of requests, read within bounds."""

from contextlib import aclosing
from typing import TypeVar

from fastapi import Request
from starlette.exceptions import HTTPException

from vectorflow.api.backend import Limits
from vectorflow.api.schemas import read_json
from vectorflow.api.uploads import body_blocks
from vectorflow.errors import TooLarge

T = TypeVar("T")


async def read_body(type_: type[T], request: Request, limits: Limits) -> T:
    """Read a body that has to be there.

    Raises:
        HTTPException: It does not say that it is JSON.
        InvalidInput: It is none, or not in this form.
        TooLarge: It has too many bytes.
    """
    _check_kind(request)
    return read_json(type_, "the body", await _bytes(request, limits))


async def read_options(type_: type[T], request: Request, limits: Limits) -> T:
    """Read a body that may be left out.

    Raises:
        HTTPException: It does not say that it is JSON.
        InvalidInput: It is none, or not in this form.
        TooLarge: It has too many bytes.
    """
    body = await _bytes(request, limits)
    if body:
        _check_kind(request)
    return read_json(type_, "the body", body or b"{}")


def _check_kind(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body is not JSON; send it as application/json")


async def _bytes(request: Request, limits: Limits) -> bytes:
    most = limits.field_bytes
    too_large = TooLarge("the body is too large", fix=f"ask in bodies of at most {most} bytes")
    blocks = body_blocks(request, most, too_large, idle_seconds=limits.idle_seconds)
    async with aclosing(blocks) as arriving:
        return b"".join([block async for block in arriving])
