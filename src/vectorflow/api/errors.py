"""Errors -> JSON answers: one table of statuses; below `/v1` in the form of RFC 9457."""

import logging
import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vectorflow import errors
from vectorflow.errors import InvalidInput, NotFound, Transient, VectorFlowError

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
    errors.NotServed: 502,
    errors.TooMuchAtOnce: 502,
    errors.HookRefused: 400,
    errors.DocumentFailed: 400,
    errors.EmptyDocument: 400,
    errors.BinaryContent: 400,
    errors.UnsupportedFormat: 400,
    errors.BrokenFile: 400,
    errors.EncryptedFile: 400,
    errors.LimitExceeded: 400,
    errors.ExtractorCrashed: 400,
    errors.WorkersDied: 400,
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

PROBLEM = "application/problem+json"

_FAILED = "the server failed; its log says why"
_SENTENCES = {
    404: "there is no such route; the reference of the HTTP API lists them",
    405: "this route does not take this method; the header Allow names those it takes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is no success, before it is written."""

    status: int
    code: str
    message: str
    fix: str
    retryable: bool = False
    """The same request may succeed later."""
    headers: Mapping[str, str] | None = None

    def sentence(self) -> dict[str, str]:
        """Give it in the form of the v0 API: a sentence that says what to do."""
        error = f"{self.message}; {self.fix}" if self.fix else self.message
        return {"error": error, "code": self.code}

    def problem(self) -> dict[str, object]:
        """Give it as problem details: nothing that depends on the words has to be read."""
        return {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
            "fix": self.fix,
            "retryable": self.retryable,
        }

    def written(self, path: str) -> JSONResponse:
        """Answer in the form that clients of this path read."""
        if path == "/v1" or path.startswith("/v1/"):
            return JSONResponse(self.problem(), self.status, self.headers, PROBLEM)
        return JSONResponse(self.sentence(), self.status, self.headers)


def status_of(error: VectorFlowError) -> int:
    """Status of an error; one of a plugin's own has that of the class it stems from."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def refusal_of(error: Exception) -> Refusal:
    """Make the answer to an error; what is the server's own affair stays in the log."""
    status = status_of(error) if isinstance(error, VectorFlowError) else 500
    if not isinstance(error, VectorFlowError) or status == 500:  # noqa: PLR2004 - its reason is not for clients
        _log(error)
        message, _, fix = _FAILED.partition("; ")
        return Refusal(status=500, code="error", message=message, fix=fix)
    headers: dict[str, str] = {}
    retryable = isinstance(error, Transient)
    if isinstance(error, Transient):
        headers["Retry-After"] = str(math.ceil(error.retry_after or RETRY_SECONDS))
    if status == 401:  # noqa: PLR2004 - as RFC 9110 demands
        headers["WWW-Authenticate"] = "Bearer"
    return Refusal(
        status=status,
        code=error.code,
        message=error.message,
        fix=error.fix or ("send it again later" if retryable else ""),
        retryable=retryable,
        headers=headers,
    )


def answer(error: Exception, path: str) -> JSONResponse:
    """Answer a request for this path with an error."""
    return refusal_of(error).written(path)


def add_handlers(app: FastAPI) -> None:
    """Make every refusal of the framework a JSON object with a sentence."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def no_job() -> NotFound:
    """The job is unknown, or another tenant's."""
    return NotFound("there is no such job", fix="use the JobID that the upload was answered with")


def _log(error: Exception) -> None:
    """Note where it happened; the message may hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = [f"{frame.filename}:{frame.lineno}" for frame in frames]
    log.error("request_failed", extra={"error": type(error).__name__, "where": where})


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    status, detail, headers = 500, _FAILED, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
        detail = _SENTENCES.get(status, error.detail)
    return _refused(status, detail, headers).written(request.url.path)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    """The framework validates paths, where an id that is no number is no job, and queries."""
    [first, *_] = error.errors() if isinstance(error, RequestValidationError) else [{}]
    place: tuple[str, ...] = first.get("loc", ("path",))
    if place[0] == "path":
        return answer(no_job(), request.url.path)
    message = f"{place[-1]}: {str(first['msg']).lower()}"
    return answer(InvalidInput(message, fix="mend it, or leave it out"), request.url.path)


async def _on_disconnect(request: Request, _error: Exception) -> JSONResponse:
    """Nobody reads it."""
    return _refused(400, "the body ended early; send it again").written(request.url.path)


def _refused(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Refusal:
    message, _, fix = sentence.partition("; ")
    return Refusal(
        status=status,
        code=f"http_{status}",
        message=message,
        fix=fix,
        retryable=status == HTTPStatus.REQUEST_TIMEOUT,
        headers=headers,
    )
