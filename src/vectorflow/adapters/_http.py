"""The one HTTP client for addresses that users give.

It connects to addresses that were judged and to no other, keeps no cookies, asks no proxy, and
takes bodies as they are sent: what is compressed stays small.
"""

import contextlib
import io
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from vectorflow.adapters._addresses import Lookup, Policy, look_up, system_lookup
from vectorflow.errors import HookRefused, Throttled, TooLarge, Transient, Unavailable

_CONNECTIONS, _CONNECTIONS_TO_ONE = 64, 8
_CONNECT = 10.0
_BLOCK = 1 << 16
_HEADER_BYTES, _HEADERS = 8190, 128
_MAX_WAIT = 3600.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 409, 425})
_THROTTLED, _SERVER_ERROR = 429, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: with a body it is a POST, without one a GET."""

    url: str = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    seconds: float
    """For all of it: lookup, redirects and the answer's body."""
    redirects: int = 0
    """How many are followed; headers go to the first address only."""


class Answer:
    """Status and headers of an answer; its body is read when it is asked for."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.host = response.url.raw_host or ""
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.size = response.content_length
        """Bytes of the body, where the other side says so."""

    @property
    def encoding(self) -> str:
        """How the body is compressed; empty if it is not."""
        given = self.headers.get("Content-Encoding", "").strip().lower()
        return "" if given == "identity" else given

    def trouble(self) -> Transient | None:
        """Give the error of a status after which trying again may help."""
        if self.status == _THROTTLED:
            message = f"{self.host!r} asked to slow down"
            return Throttled(message, retry_after=_wait(self.headers))
        if self.status in _TRY_AGAIN or self.status >= _SERVER_ERROR:
            message = f"{self.host!r} answered {self.status}"
            return Unavailable(message, retry_after=_wait(self.headers))
        return None

    async def blocks(self, limit: int) -> AsyncGenerator[bytes]:
        """Read the body.

        Raises:
            TooLarge: It is longer than `limit` bytes.
            Unavailable: It broke off, or took too long.
        """
        count = 0
        while block := await self._block():
            count += len(block)
            if count > limit:
                raise TooLarge(f"the answer of {self.host!r} is longer than {limit:,} bytes")
            yield block

    async def read(self, limit: int) -> bytes:
        """Read the whole body; raises as `blocks` does."""
        async with contextlib.aclosing(self.blocks(limit)) as blocks:
            return b"".join([block async for block in blocks])

    async def _block(self) -> bytes:
        with _translated(self.host):
            return await self._response.content.read(_BLOCK)


class GuardedClient:
    """A pool of connections to what a policy lets in; an async context manager."""

    def __init__(
        self,
        policy: Policy,
        *,
        idle: float,
        lookup: Lookup = system_lookup,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make it; connections are opened when calls need them.

        Args:
            policy: What may be called.
            idle: Seconds without a byte after which a call ends.
            lookup: Finds the addresses of names.
            tls: Who is trusted; not given, the authorities of the system.
        """
        self._policy = policy
        self._idle = idle
        self._lookup = lookup
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=JudgedResolver(self._policy, self._lookup),
            use_dns_cache=False,
            limit=_CONNECTIONS,
            limit_per_host=_CONNECTIONS_TO_ONE,
            ssl=self._tls or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "VectorFlow", "Accept-Encoding": "identity"},
            trust_env=False,
            auto_decompress=False,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADERS,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session:
            await self._session.close()
        self._session = None

    @contextlib.asynccontextmanager
    async def call(self, call: Call) -> AsyncGenerator[Answer]:
        """Make a request and give the answer, whatever its status.

        Raises:
            ForbiddenAddress: The address, or one that it redirects to, may not be called.
            HookRefused: It redirects too often, or to nowhere.
            Unavailable: There is no answer.
        """
        response = await self._last_response(call)
        try:
            yield Answer(response)
        finally:
            # Before its end has come, this closes the connection.
            response.release()

    async def _last_response(self, call: Call) -> aiohttp.ClientResponse:
        url, headers = self._policy.target(call.url), call.headers
        end = time.monotonic() + call.seconds
        for _ in range(call.redirects + 1):
            response = await self._send(url, call.body, headers, end - time.monotonic())
            if response.status not in _REDIRECTS or not call.redirects:
                return response
            response.release()
            url, headers = self._policy.target(_location(url, response)), {}
        fix = "give the address that it redirects to"
        raise HookRefused(f"{url.raw_host!r} redirects more than {call.redirects} times", fix=fix)

    async def _send(
        self, url: URL, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("the client is not open")
        with _translated(url.raw_host or ""):
            return await self._session.request(
                "GET" if body is None else "POST",
                url,
                data=None if body is None else io.BytesIO(body),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=max(seconds, 0.001),  # none at all would mean no limit
                    sock_connect=min(_CONNECT, self._idle),
                    sock_read=self._idle,
                ),
            )


class JudgedResolver(AbstractResolver):
    """Gives the connector judged addresses; it does not ask for literal ones."""

    def __init__(self, policy: Policy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - all must be judged
    ) -> list[ResolveResult]:
        """Look a name up and refuse it unless all its addresses may be called."""
        addresses = await look_up(host, port, self._policy, self._lookup)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


@contextlib.contextmanager
def _translated(host: str) -> Generator[None]:
    """Turn what aiohttp raises into our errors, without the cause: it may quote the URL."""
    try:
        yield
    except TimeoutError:
        raise Unavailable(f"{host!r} took too long") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError):
        fix = "check its certificate, and that an authority of this system signed it"
        raise Unavailable(f"there is no TLS with {host!r}", fix=fix) from None
    except aiohttp.ClientConnectorError:
        raise Unavailable(f"{host!r} cannot be reached") from None
    except (aiohttp.ClientError, OSError):
        raise Unavailable(f"{host!r} broke the connection") from None


def _location(url: URL, response: aiohttp.ClientResponse) -> str:
    given = response.headers.get("Location", "")
    with contextlib.suppress(ValueError):
        if given:
            return str(url.join(URL(given, encoded=given.isascii())))
    raise HookRefused(f"{url.raw_host!r} redirects to nowhere")


def _wait(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: seconds or a date."""
    given = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", given):
        return min(float(given), _MAX_WAIT)
    with contextlib.suppress(ValueError, OverflowError):
        if date := parsedate_tz(given):
            return min(max(mktime_tz(date) - time.time(), 0.0), _MAX_WAIT)
    return None
