"""The REST of Qdrant: addresses, one request, and its errors in our terms."""

import io
import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from vectorflow.errors import (
    CallRefused,
    InvalidInput,
    KeyRefused,
    OutOfSpace,
    Throttled,
    TooMuchAtOnce,
    Unavailable,
    VectorFlowError,
)

MAX_ANSWER = 64_000_000
NOT_THERE = 404

_SCHEME, _PORT, _CONNECTIONS = "qdrant", 6333, 8
_WRITE_IT = "write it as qdrant://HOST:PORT, with ?tls=false or ?tls=true where needed"
_TLS = {"true": True, "false": False}
_OK, _TOO_LARGE = 200, 413
_STRANGER = "something else than Qdrant answers at the store's address"
_HOST = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a Qdrant listens."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `qdrant://HOST:PORT?tls=BOOL`; TLS is the default unless the host is this one.

        Raises:
            InvalidInput: It is something else, or holds a key.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORT
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            tls = _TLS[options.pop("tls")] if "tls" in options else not _is_local(host)
        except (KeyError, ValueError):
            # The cause may quote a key.
            raise InvalidInput("not the address of a Qdrant", fix=_WRITE_IT) from None
        if parts.username is not None or parts.password is not None or options:
            fix = "set QDRANT_KEY, or send the key as X-VectorDB-Key"
            raise InvalidInput(
                "the address of a Qdrant holds more than host, port and tls", fix=fix
            )
        if (
            parts.scheme != _SCHEME
            or not _HOST.fullmatch(host)
            or parts.path.strip("/")
            or parts.fragment
        ):
            raise InvalidInput("not the address of a Qdrant", fix=_WRITE_IT)
        return cls(host=host, port=port, tls=tls)

    @property
    def locator(self) -> str:
        """The one canonical form."""
        usual = self.tls is not _is_local(self.host)
        return f"{_SCHEME}://{self._authority}{'' if usual else f'?tls={str(self.tls).lower()}'}"

    @property
    def base(self) -> str:
        """What paths are appended to."""
        return f"{'https' if self.tls else 'http'}://{self._authority}"

    @property
    def _authority(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def _is_local(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What Qdrant said: its JSON where the status is 200, else nothing."""

    status: int
    json: Mapping[str, object]

    @property
    def ok(self) -> bool:
        return self.status == _OK

    @property
    def result(self) -> object:
        """What nearly all of its answers hold."""
        if "result" not in self.json:
            raise Unavailable(_STRANGER)
        return self.json["result"]


class QdrantHttp:
    """One pool of connections to one Qdrant, with at most one key."""

    def __init__(
        self,
        address: Address,
        *,
        timeout: float,
        key: str | None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._base = address.base
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            if not (key.isascii() and key.isprintable()):
                raise InvalidInput("the key for Qdrant holds signs that no key has")
            self._headers["api-key"] = key
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        if self._session:
            await self._session.close()
            self._session = None

    async def ask(
        self, method: str, path: str, body: object = None, *, also: Collection[int] = ()
    ) -> Answer:
        """Send one request.

        Args:
            method: Of HTTP.
            path: With its query.
            body: JSON as bytes, or what to write as JSON.
            also: Statuses to hand back beside 200; others become errors.

        Raises:
            TooMuchAtOnce: The request or its answer is larger than one may be.
        """
        written = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        data = io.BytesIO(written) if written else None  # sent in pieces, bytes in one
        try:
            async with self._opened().request(
                method, URL(self._base + path, encoded=True), data=data, allow_redirects=False
            ) as response:
                if response.status == _OK:
                    return Answer(status=_OK, json=_parsed(await _read(response)))
                if response.status in also:
                    return Answer(status=response.status, json={})
                raise refusal(response.status, response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise Unavailable(f"Qdrant does not answer ({type(error).__name__})") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_CONNECTIONS,
                    resolver=self._resolver,
                    use_dns_cache=self._resolver is None,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                timeout=self._timeout,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    read = bytearray()
    async for some in response.content.iter_any():
        read += some
        if len(read) > MAX_ANSWER:
            raise TooMuchAtOnce(f"an answer of Qdrant is larger than {MAX_ANSWER // 1_000_000} MB")
    return bytes(read)


def _parsed(body: bytes) -> Mapping[str, object]:
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None  # the cause would hold the body
    if not isinstance(answer, dict):
        raise Unavailable(_STRANGER)
    return {str(key): value for key, value in answer.items()}


_REFUSED_KEY = frozenset({401, 402, 403})
_PASSING = frozenset({408, 425})
_SLOW_DOWN, _NO_ROOM, _SERVER_ERRORS = 429, 507, 500


def refusal(status: int, retry_after: str | None = None) -> VectorFlowError:
    """Turn a status into an error."""
    if status == _SLOW_DOWN:
        return Throttled("Qdrant asks to slow down", retry_after=_seconds(retry_after))
    if status == _NO_ROOM:
        return OutOfSpace("the disk of Qdrant is full")
    if status in _PASSING or status >= _SERVER_ERRORS:
        return Unavailable(f"Qdrant failed (HTTP {status})", retry_after=_seconds(retry_after))
    if status in _REFUSED_KEY:
        fix = "check QDRANT_KEY or X-VectorDB-Key: it must be there and may write"
        return KeyRefused(f"Qdrant refused the key (HTTP {status})", fix=fix)
    if status == _TOO_LARGE:
        return TooMuchAtOnce("a request is larger than Qdrant takes")
    return CallRefused(
        f"Qdrant refused a request (HTTP {status})",
        fix="look into its log; the collection's strict mode may forbid it",
    )


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
