"""Refusals of an embeddings provider -> errors that say what can be done about them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

from vectorflow.errors import (
    BadChunk,
    CallRefused,
    KeyRefused,
    NotServed,
    Throttled,
    TooMuchAtOnce,
    Unavailable,
    VectorFlowError,
)

LONGEST_WAIT: Final = 120.0
"""Seconds; a provider that asks for more is asked again before."""

_BAD_REQUEST, _PAYMENT_REQUIRED, _NOT_FOUND, _TOO_LARGE, _UNPROCESSABLE = 400, 402, 404, 413, 422
_THROTTLED = 429
_TRY_AGAIN: Final = frozenset({408, 409, 425})
_KEY: Final = frozenset({401, _PAYMENT_REQUIRED, 403})

_OUT_OF_CREDIT: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
)
_UNITS: Final = MappingProxyType(
    {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
)
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|µs|ms|s|m|h|d)")
_WAIT: Final = re.compile(
    r"(?:try again in|retry after)\s+((?:\d{1,9}(?:\.\d{1,9})?\s?(?:ms|s|m|h|d))+)", re.IGNORECASE
)
_TOO_MUCH: Final = re.compile(
    r"request too large|max_tokens_per_request|max \d+ tokens per request|array too long"
    r"|too many (?:inputs|texts|items)|maximum (?:allowed )?batch size|at most \d+ (?:inputs|items)"
    r"|batch size is too large|less than or equal to \d+ inputs",
    re.IGNORECASE,
)
_TOO_LONG: Final = re.compile(
    r"maximum context length|context_length_exceeded|must have less than \d+ tokens"
    r"|string too long|input is too long|longer than the maximum|maximum input length",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(r"\binput[.\[](\d{1,6})\b")
_ABOUT_INPUT: Final = re.compile(r"^(?:\$\.|body\.)?input\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer other than 200. Nothing of `error` is ever repeated in a message of ours."""

    host: str
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    error: Mapping[str, object]
    """The object `error` of its body."""
    texts: int
    """How many were sent."""

    @property
    def said(self) -> str:
        """Code, type and sentence, to look for known words in."""
        return " ".join(str(self.error.get(name, "")) for name in ("code", "type", "message"))

    @property
    def about(self) -> str:
        """The parameter that was to blame; empty if that was not told."""
        return str(self.error.get("param") or "")

    @property
    def who(self) -> str:
        """How a message begins."""
        return f"the embedding provider {self.host} answered {self.status}"

    @property
    def is_out_of_credit(self) -> bool:
        """Tell whether waiting is of no use before somebody pays."""
        return not _OUT_OF_CREDIT.isdisjoint(self.said.split(" "))


def error_of(refusal: Refusal) -> VectorFlowError:
    """Say what a refusal means."""
    status = refusal.status
    if status in _KEY or refusal.is_out_of_credit:
        return _key_refused(refusal)
    if status == _THROTTLED:
        return _throttled(refusal)
    if status >= 500 or status in _TRY_AGAIN:  # noqa: PLR2004 - a status class
        return Unavailable(refusal.who, retry_after=wait_of(refusal))
    if status == _NOT_FOUND:
        return NotServed(
            f"{refusal.who}: no such model, or no such address",
            fix="check the model's name and VECTORFLOW_OPENAI__BASE_URL",
        )
    if status in {_BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE}:
        return _not_taken(refusal)
    return NotServed(
        f"{refusal.who}, which is no answer to an embeddings request",
        fix="check VECTORFLOW_OPENAI__BASE_URL; redirects are not followed",
    )


def _key_refused(refusal: Refusal) -> KeyRefused:
    if refusal.is_out_of_credit or refusal.status == _PAYMENT_REQUIRED:
        return KeyRefused(
            f"{refusal.who}: the account of this key is out of credit",
            fix="add credit at the provider, or use the key of another account",
        )
    return KeyRefused(
        f"{refusal.who}: it does not accept this key",
        fix="send a valid key in X-EmbeddingAPI-Key, or set OPEN_AI_KEY",
    )


def _throttled(refusal: Refusal) -> VectorFlowError:
    if _TOO_MUCH.search(refusal.said):  # more than the account may send in a whole minute
        return TooMuchAtOnce(f"{refusal.who}: the request is larger than this account's limit")
    return Throttled(f"{refusal.who}: too many requests or tokens", retry_after=wait_of(refusal))


def _not_taken(refusal: Refusal) -> VectorFlowError:
    """Find out whether the request is too large, one text cannot be embedded, or we asked badly."""
    if refusal.texts > 1 and (refusal.status == _TOO_LARGE or _TOO_MUCH.search(refusal.said)):
        return TooMuchAtOnce(f"{refusal.who}: {refusal.texts} texts are more than it takes at once")
    if (position := _position(refusal)) is not None:
        return BadChunk(
            f"{refusal.who}: this chunk is too long for the model, or nothing it can read",
            position=position,
            fix="ask for smaller chunks",
        )
    if _blames_texts(refusal):  # it does not say which one: halves will tell
        return TooMuchAtOnce(f"{refusal.who}: it does not take one of {refusal.texts} texts")
    return CallRefused(
        f"{refusal.who}: it does not take such a request",
        fix="check the model's name, its dimensions and VECTORFLOW_OPENAI__BASE_URL",
    )


def _position(refusal: Refusal) -> int | None:
    """Which text is to blame, if that can be told."""
    if refusal.texts == 1:
        blameless = refusal.about and not _ABOUT_INPUT.match(refusal.about)
        return None if blameless else 0
    found = _PLACE.search(refusal.about) or _PLACE.search(str(refusal.error.get("message", "")))
    position = int(found[1]) if found else refusal.texts
    return position if position < refusal.texts else None


def _blames_texts(refusal: Refusal) -> bool:
    about_input = _ABOUT_INPUT.match(refusal.about) is not None
    return refusal.texts > 1 and (about_input or _TOO_LONG.search(refusal.said) is not None)


def wait_of(refusal: Refusal) -> float | None:
    """How many seconds we are asked to wait, `LONGEST_WAIT` at most; None if that is not said."""
    headers = refusal.headers
    told = (
        _number(headers.get("retry-after-ms"), scale=1e-3),
        _number(headers.get("retry-after")),
        _until(headers.get("retry-after")),
        _in_words(str(refusal.error.get("message", ""))),
        _reset(headers),
    )
    wait = next((one for one in told if one is not None), None)
    return None if wait is None else min(max(wait, 0.0), LONGEST_WAIT)


def seconds_of(duration: str) -> float | None:
    """Read `250ms`, `1.5s` or `6m0s`; None if it is nothing of the kind."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _number(written: str | None, *, scale: float = 1.0) -> float | None:
    try:
        number = float(written or "")
    except ValueError:
        return None
    return number * scale if math.isfinite(number) else None


def _until(written: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(written or "")
    except ValueError:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (zoned - datetime.now(UTC)).total_seconds()


def _in_words(message: str) -> float | None:
    found = _WAIT.search(message)
    if found is None:
        return None
    return seconds_of(re.sub(r"\s", "", found[1]))


def _reset(headers: Mapping[str, str]) -> float | None:
    """Wait for the limit that is used up; where none is said to be, for the first to reset."""
    waits: dict[str, float] = {}
    for what in ("requests", "tokens"):
        wait = seconds_of(headers.get(f"x-ratelimit-reset-{what}", ""))
        if wait is not None:
            waits[what] = wait
    used_up = [
        wait for what, wait in waits.items() if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max(used_up) if used_up else min(waits.values(), default=None)
