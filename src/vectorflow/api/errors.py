"""Errors -> JSON answers: one table of statuses, and a sentence in `error` that says what to do."""

import logging
import math
import traceback
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vectorflow import errors
from vectorflow.errors import NotFound, Transient, VectorFlowError

log = logging.getLogger(__name__)

STATUS: Mapping[type[VectorFlowError], int] = {
    errors.VectorFlowError: 500,
    errors.Transient: 503,
    errors.Throttled: 429,
    errors.Unavailable: 503,
    errors.LeaseLost: 503,
    errors.OutOfSpace: 503,
    errors.Permanent: 400,
    errors.InvalidInput: 400,
    errors.InvalidSetting: 500,  # the operator's mistake, not the client's
    errors.UnknownPlugin: 400,
    errors.MissingExtra: 501,
    errors.TooLarge: 413,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.ForbiddenAddress: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unsealable: 500,  # the operator's keys, not the client's
    errors.CallRefused: 502,
    errors.KeyRefused: 400,
    errors.TooMuchAtOnce: 502,
    errors.HookRefused: 400,
    errors.DocumentFailed: 400,
    errors.EmptyDocument: 400,
    errors.BinaryContent: 400,
    errors.UnreadableSource: 400,
    errors.BadChunk: 400,
    errors.IndexRefused: 409,
    errors.DimensionMismatch: 409,
    errors.FingerprintMismatch: 409,
    errors.ForeignIndex: 409,
    errors.IndexLost: 409,
}

RETRY_SECONDS = 5.0
"""Asked of clients where nobody knows better."""

_FAILED = "the server failed; its log says why"
_SENTENCES = {
    404: "there is no such route; the reference of the HTTP API lists them",
    405: "this route does not take this method; the header Allow names those it takes",
}


def status_of(error: VectorFlowError) -> int:
    """Status of an error; one of a plugin's own has that of the class it stems from."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def answer(error: VectorFlowError) -> JSONResponse:
    """Answer with an error; what is the server's own affair stays in the log."""
    status = status_of(error)
    if status == 500:  # noqa: PLR2004 - the one status whose reason is not for clients
        return failed(error)
    headers: dict[str, str] = {}
    if isinstance(error, Transient):
        headers["Retry-After"] = str(math.ceil(error.retry_after or RETRY_SECONDS))
    if status == 401:  # noqa: PLR2004 - as RFC 9110 demands
        headers["WWW-Authenticate"] = "Bearer"
    sentence = str(error)
    if isinstance(error, Transient) and not error.fix:
        sentence += "; send it again later"
    return JSONResponse({"error": sentence, "code": error.code}, status, headers)


def failed(error: Exception) -> JSONResponse:
    """Answer 500 and log where it happened; the message may hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = [f"{frame.filename}:{frame.lineno}" for frame in frames]
    log.error("request_failed", extra={"error": type(error).__name__, "where": where})
    return JSONResponse({"error": _FAILED, "code": "error"}, 500)


def add_handlers(app: FastAPI) -> None:
    """Make every refusal of the framework a JSON object with a sentence."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


async def _on_http(_request: Request, error: Exception) -> JSONResponse:
    status, detail, headers = 500, _FAILED, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
        detail = _SENTENCES.get(status, error.detail)
    return JSONResponse({"error": detail, "code": f"http_{status}"}, status, headers)


async def _on_invalid(_request: Request, _error: Exception) -> JSONResponse:
    """Only paths are validated by the framework: a job id that is no number is no job."""
    return answer(no_job())


async def _on_disconnect(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody reads it."""
    return JSONResponse({"error": "the body ended early; send it again"}, 400)


def no_job() -> NotFound:
    """The job is unknown, or another tenant's."""
    return NotFound("there is no such job", fix="use the JobID that the upload was answered with")
