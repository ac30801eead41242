"""What the fake provider refuses, in OpenAI's words, and its quotas of requests and tokens."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from vectorflow.adapters._openai_bpe import encoding

MAX_TEXTS: Final = 2048
MAX_TEXT_TOKENS: Final = 8192
MAX_REQUEST_TOKENS: Final = 300_000

MODELS: Final[Mapping[str, int]] = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
"""Dimensions by model."""


class Refused(Exception):
    """An answer other than 200."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        self.error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request within all limits."""

    model: str
    texts: Sequence[str]
    tokens: int
    dimensions: int
    base64: bool


def read_request(body: bytes, models: Mapping[str, int]) -> Asked:
    """Read and check the body of a request.

    Raises:
        Refused: It is not what OpenAI would take.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise Refused(400, "We could not parse the JSON body of your request.")
    model = given.get("model")
    if not isinstance(model, str) or model not in models:
        raise Refused(404, f"The model `{model}` does not exist.", code="model_not_found")
    texts = _texts(given.get("input"))
    return Asked(
        model=model,
        texts=texts,
        tokens=_tokens(texts),
        dimensions=_dimensions(given.get("dimensions"), model, models[model]),
        base64=given.get("encoding_format") == "base64",
    )


def _texts(given: object) -> list[str]:
    listed: list[object] = [given] if isinstance(given, str) else []
    if isinstance(given, list):
        listed = given
    texts = [text for text in listed if isinstance(text, str) and text]
    if not texts or len(texts) < len(listed):
        raise Refused(400, "'$.input' is invalid. Please check the API reference.")
    if len(texts) > MAX_TEXTS:
        message = f"Expected an array with maximum length {MAX_TEXTS}, but got {len(texts)}."
        raise Refused(
            400,
            f"Invalid 'input': array too long. {message}",
            code="array_above_max_length",
            param="input",
        )
    return texts


def _tokens(texts: Sequence[str]) -> int:
    ids = encoding("cl100k").ids
    counts = [len(ids(text.encode())) for text in texts]
    if max(counts) > MAX_TEXT_TOKENS:
        message = f"This model's maximum context length is {MAX_TEXT_TOKENS} tokens, however you"
        raise Refused(400, f"{message} requested {max(counts)} tokens. Please reduce your prompt.")
    if sum(counts) > MAX_REQUEST_TOKENS:
        message = f"max {MAX_REQUEST_TOKENS} tokens per request"
        raise Refused(
            400, f"Requested {sum(counts)} tokens, {message}", code="max_tokens_per_request"
        )
    return sum(counts)


def _dimensions(given: object, model: str, most: int) -> int:
    if given is None:
        return most
    if not model.startswith("text-embedding-3-"):
        message = "This model does not support specifying dimensions."
        raise Refused(400, message, param="dimensions")
    if not (isinstance(given, int) and 1 <= given <= most):
        message = f"Invalid value for 'dimensions'. Must be less than or equal to {most}."
        raise Refused(400, message, param="dimensions")
    return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one key may send in a minute; None is no limit."""

    requests: int | None = None
    tokens: int | None = None


class _Bucket:
    """Refills evenly over a minute."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._seen = time.monotonic()

    @property
    def level(self) -> float:
        """What may be taken now."""
        now = time.monotonic()
        refilled = self._level + (now - self._seen) * self.per_minute / 60
        self._level, self._seen = min(float(self.per_minute), refilled), now
        return self._level

    def wait(self, amount: float) -> float:
        """Seconds until so much may be taken."""
        return max(0.0, amount - self.level) * 60 / self.per_minute

    def take(self, amount: float) -> None:
        """Take it."""
        self._level = self.level - amount


class Meter:
    """The quotas of one key."""

    def __init__(self, quota: Quota) -> None:
        limits = {"requests": quota.requests, "tokens": quota.tokens}
        self._buckets = {what: _Bucket(limit) for what, limit in limits.items() if limit}

    def take(self, model: str, tokens: int) -> None:
        """Take one request and its tokens.

        Raises:
            Refused: 429, and when to try again.
        """
        amounts = {"requests": 1, "tokens": tokens}
        waits = {what: one.wait(amounts[what]) for what, one in self._buckets.items()}
        what, wait = max(waits.items(), key=lambda one: one[1], default=("", 0.0))
        if wait > 0:
            raise self._refusal(model, what, amounts[what], wait)
        for name, bucket in self._buckets.items():
            bucket.take(amounts[name])

    def headers(self) -> dict[str, str]:
        """Tell limits, what is left of them, and when they are whole again."""
        headers: dict[str, str] = {}
        for what, bucket in self._buckets.items():
            headers[f"x-ratelimit-limit-{what}"] = str(bucket.per_minute)
            headers[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level)))
            headers[f"x-ratelimit-reset-{what}"] = duration(bucket.wait(bucket.per_minute))
        return headers

    def _refusal(self, model: str, what: str, asked: int, wait: float) -> Refused:
        limit = self._buckets[what].per_minute
        place = f"for {model} on {what} per min: Limit {limit}, Requested {asked}."
        if asked > limit:
            refused = Refused(429, f"Request too large {place}", code="rate_limit_exceeded")
        else:
            advice = f"Please try again in {duration(wait)}."
            refused = Refused(
                429, f"Rate limit reached {place} {advice}", code="rate_limit_exceeded"
            )
            refused.headers = told_to_wait(wait)
        refused.error["type"] = what
        return refused


def told_to_wait(seconds: float) -> dict[str, str]:
    """Say it in headers, as OpenAI does: in whole seconds and in milliseconds."""
    return {
        "retry-after": str(math.ceil(seconds)),
        "retry-after-ms": str(math.ceil(seconds * 1000)),
    }


def duration(seconds: float) -> str:
    """Write `250ms`, `1.5s` or `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.0f}s" if minutes else f"{rest:.3g}s"
