"""A provider of embeddings that speaks as OpenAI does, costs nothing and fails on demand.

In a test: `async with FakeProvider() as provider: OpenAiEmbedder(..., base_url=provider.url)`. As a
process: `python -m vectorflow.testing.provider --latency 0.1`; its first line is its URL. Its
vectors are `vector_of`. Beside the API there are `GET /stats` and `POST /faults`.
"""

import argparse
import asyncio
import hashlib
import signal
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import orjson
import pybase64
from aiohttp import web

from vectorflow.domain.records import Matrix
from vectorflow.testing.provider_faults import FAULTS, Dice, Faults, damaged
from vectorflow.testing.provider_limits import (
    MODELS,
    Asked,
    Meter,
    Quota,
    Refused,
    read_request,
    told_to_wait,
)
from vectorflow.testing.provider_vectors import vector_of, vectors_of

__all__ = ["FAULTS", "MODELS", "FakeProvider", "Faults", "Quota", "Stats", "vector_of"]

_MAX_BODY: Final = 64 << 20
_ROW: Final = b'{"object":"embedding","index":%d,"embedding":%b'


@dataclass(slots=True)
class Stats:
    """What was asked and answered."""

    calls: int = 0
    """Requests for embeddings, refused ones too."""
    texts: int = 0
    """Texts that were embedded, and would be on the bill."""
    tokens: int = 0
    repeated_texts: int = 0
    """Texts that were embedded though they had been before: paid twice."""
    most_in_flight: int = 0
    by_status: Counter[int] = field(default_factory=Counter[int])
    """Answers; a connection that was dropped counts as 0."""
    keys: set[str] = field(default_factory=set[str])
    """Digests of the keys that came; never a key."""

    def as_json(self) -> dict[str, object]:
        """Give it as `GET /stats` does."""
        return {
            "calls": self.calls,
            "texts": self.texts,
            "tokens": self.tokens,
            "repeated_texts": self.repeated_texts,
            "most_in_flight": self.most_in_flight,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "keys": sorted(self.keys),
        }


class FakeProvider:
    """Serves on 127.0.0.1 while it is entered."""

    def __init__(
        self,
        *,
        port: int = 0,
        latency: float = 0.0,
        keys: Collection[str] = (),
        quota: Quota | None = None,
        faults: Faults | None = None,
        models: Mapping[str, int] = MODELS,
    ) -> None:
        """Say how it behaves.

        Args:
            port: 0 takes a free one.
            latency: Seconds before a request is answered.
            keys: The keys it takes; none of them means any, or none at all.
            quota: What each key may send in a minute.
            faults: What goes wrong; `faults` may be set anew at any time.
            models: Dimensions by model.
        """
        self.stats = Stats()
        self.latency = latency
        self._port = port
        self._keys = frozenset(keys)
        self._quota = quota or Quota()
        self._models = dict(models)
        self._dice = Dice(faults or Faults())
        self._meters: dict[str, Meter] = {}
        self._seen: set[int] = set()
        self._in_flight = 0
        self._runner: web.AppRunner | None = None

    @property
    def origin(self) -> str:
        """Its address, to which `/stats` and `/faults` belong."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """What to give as base URL."""
        return f"{self.origin}/v1"

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on."""
        return self._dice.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._dice = Dice(faults)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/stats", self._show_stats)
        app.router.add_post("/faults", self._set_faults)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _embeddings(self, request: web.Request) -> web.Response:
        self.stats.calls += 1
        self._in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self._in_flight)
        try:
            answer = await self._answer(request)
        except Refused as refused:
            answer = _json({"error": refused.error}, status=refused.status)
            answer.headers.update(refused.headers)
        finally:
            self._in_flight -= 1
        dropped = request.transport is None or request.transport.is_closing()
        self.stats.by_status[0 if dropped else answer.status] += 1
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        key = self._key_of(request)
        fault = self._dice.throw()
        asked = read_request(await request.read(), self._models)
        meter = self._meters.setdefault(key, Meter(self._quota))
        try:
            meter.take(asked.model, asked.tokens)
            _refuse(_fault_over(asked, self.faults) or fault, self.faults)
        except Refused as refused:
            refused.headers |= meter.headers()
            raise
        await asyncio.sleep(self.faults.slow_seconds if fault == "slow" else self.latency)
        self._count(asked)
        if fault == "reset" and request.transport:
            request.transport.abort()
        return web.Response(
            body=_body(asked, fault), content_type="application/json", headers=meter.headers()
        )

    def _key_of(self, request: web.Request) -> str:
        """Give the digest of the key that came."""
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        digest = hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""
        if digest:
            self.stats.keys.add(digest)
        if self._keys and key not in self._keys:
            raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")
        return digest

    def _count(self, asked: Asked) -> None:
        self.stats.texts += len(asked.texts)
        self.stats.tokens += asked.tokens
        for text in asked.texts:
            seen = hash((asked.model, asked.dimensions, text))
            self.stats.repeated_texts += seen in self._seen
            self._seen.add(seen)

    async def _list_models(self, request: web.Request) -> web.Response:
        try:
            self._key_of(request)
        except Refused as refused:
            return _json({"error": refused.error}, status=refused.status)
        listed = [{"id": name, "object": "model", "owned_by": "fake"} for name in self._models]
        return _json({"object": "list", "data": listed})

    async def _show_stats(self, _request: web.Request) -> web.Response:
        return _json(self.stats.as_json())

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults = Faults.of(orjson.loads(await request.read()))
        except (ValueError, TypeError, AttributeError) as error:
            return _json({"error": {"message": str(error)}}, status=400)
        return _json({"shares": dict(self.faults.shares)})


def _fault_over(asked: Asked, faults: Faults) -> str:
    words = faults.breaks_over
    return "error_500" if words and any(words in str(text) for text in asked.texts) else ""


def _refuse(fault: str, faults: Faults) -> None:
    """Refuse the request if that is its fault."""
    if fault in {"throttled", "throttled_silently"}:
        refused = Refused(429, "Rate limit reached.", code="rate_limit_exceeded")
        if fault == "throttled":
            refused.headers = told_to_wait(faults.retry_after)
        raise refused
    if fault in {"error_500", "error_503"}:
        raise Refused(int(fault[-3:]), "The server had an error while processing your request.")
    if fault == "key_refused":
        raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")
    if fault == "out_of_credit":
        message = "You exceeded your current quota, please check your plan and billing details."
        refused = Refused(429, message, code="insufficient_quota")
        refused.error["type"] = "insufficient_quota"
        raise refused


def _body(asked: Asked, fault: str) -> bytes:
    rows, places = damaged(vectors_of(asked.texts, asked.dimensions, asked.model), fault)
    written, quote = (_in_base64(rows), b'"') if asked.base64 else (_in_numbers(rows), b"")
    parts: list[bytes | memoryview] = [
        orjson.dumps({"object": "list", "model": asked.model})[:-1],
        b',"data":[',
    ]
    for place, row in zip(places, written, strict=True):
        parts += (_ROW % (place, quote), row, quote, b"},")
    parts[-1] = b"}" if written else parts[-1]
    usage = orjson.dumps({"prompt_tokens": asked.tokens, "total_tokens": asked.tokens})
    body = b"".join([*parts, b'],"usage":', usage, b"}"])
    return body[: len(body) // 2] if fault == "truncated" else body


def _in_base64(rows: Matrix) -> Sequence[bytes | memoryview]:
    """Encode all rows at once where no padding stands between them."""
    data = np.ascontiguousarray(rows, "<f4")
    if data[:1].nbytes % 3 or not len(data):
        return [pybase64.b64encode(row.data) for row in data]
    joined = memoryview(pybase64.b64encode(data.data))
    length = len(joined) // len(data)
    return [joined[at : at + length] for at in range(0, len(joined), length)]


def _in_numbers(rows: Matrix) -> Sequence[bytes | memoryview]:
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows]


def _json(content: object, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


def _named(argument: str) -> tuple[str, float]:
    name, _, number = argument.rpartition("=")
    return name, float(number)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m vectorflow.testing.provider")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--key", action="append", default=[], help="a key it takes; repeat")
    parser.add_argument("--model", type=_named, action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--requests-per-minute", type=int)
    parser.add_argument("--tokens-per-minute", type=int)
    parser.add_argument("--fault", type=_named, action="append", default=[], metavar="NAME=SHARE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--retry-after", type=float, default=1.0, help="seconds")
    parser.add_argument("--slow-seconds", type=float, default=120.0)
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    provider = FakeProvider(
        port=options.port,
        latency=options.latency,
        keys=options.key,
        quota=Quota(requests=options.requests_per_minute, tokens=options.tokens_per_minute),
        faults=Faults(
            shares=dict(options.fault),
            seed=options.seed,
            retry_after=options.retry_after,
            slow_seconds=options.slow_seconds,
        ),
        models={**MODELS, **{name: int(size) for name, size in options.model}},
    )
    async with provider:
        sys.stdout.write(f"{provider.url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_serve(_options(None)))
