"""Requests of a worker to the API that it works for."""

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

import aiohttp

from vectorflow.errors import (
    Forbidden,
    Throttled,
    Unauthorized,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.work_wire import LEASES_HEADER, WORKER_HEADER, answered, names_of

log = logging.getLogger(__name__)

T = TypeVar("T")

ANSWER_BYTES = 256 << 20
"""Of JSON and records; blobs have bounds of their own."""

API = "api"
"""The system that errors name where nothing got to it: a store behind it is not to blame then."""

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 60.0
_CONNECTIONS = 32
_REFUSAL_BYTES = 1 << 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to the API."""

    method: str
    path: str
    """Below `/v1/work/`."""
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"
    leases: Mapping[int, int] = field(default_factory=dict[int, int])
    """Under which it is made: epoch by batch."""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float
    """For all of it."""
    knocks: bool = False
    """A refusal of the key is an end. Elsewhere it is no fault of the batch, and is met again."""


class WorkClient:
    """A pool of connections to the API, used on one event loop; `apart` is for others.

    It asks no proxy and follows no redirect: the key goes to the configured address alone.
    """

    def __init__(self, url: str, key: str, *, worker: str) -> None:
        self.url = url.rstrip("/")
        self._key = key
        self._worker = worker
        self._headers = {
            "Authorization": f"Bearer {key}",
            WORKER_HEADER: worker,
            "User-Agent": "VectorFlow",
        }
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session:
            await self._session.close()
        self._session = None

    @contextlib.asynccontextmanager
    async def apart(self) -> AsyncGenerator["WorkClient"]:
        """Give a client for the event loop that this is called on, closed afterwards."""
        client = WorkClient(self.url, "", worker="")
        client._headers = self._headers
        async with client:
            yield client

    async def read(self, ask: Ask, most: int = ANSWER_BYTES) -> bytes:
        """Make a request and give the body of the answer.

        Raises:
            VectorFlowError: What the API answered.
            Unavailable: It did not answer, or with more than `most` bytes.
        """
        blocks: list[bytes] = []
        async with contextlib.aclosing(self.blocks(ask, most)) as arriving:
            blocks += [block async for block in arriving]
        return b"".join(blocks)

    async def blocks(self, ask: Ask, most: int) -> AsyncGenerator[bytes]:
        """Make a request and give the body of the answer as it arrives; raises as `read`."""
        if self._session is None:
            raise RuntimeError("the client is not open")
        count = 0
        with _translated():
            async with self._session.request(
                ask.method,
                f"{self.url}/v1/work/{ask.path}",
                params=dict(ask.query),
                data=None if ask.body is None else io.BytesIO(ask.body),
                headers=_headers(ask),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=ask.seconds, sock_connect=_CONNECT_SECONDS, sock_read=_IDLE_SECONDS
                ),
            ) as response:
                await _check(response, knocks=ask.knocks)
                async for block in response.content.iter_any():
                    count += len(block)
                    if count > most:
                        raise Unavailable("the API answered with more than was asked for")
                    yield block


async def persist(call: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """Try again while the API does not answer, for so long: a restart of it costs no work.

    Only for calls that do the same when they are made twice.

    Raises:
        Unavailable: It still did not answer.
    """
    loop = asyncio.get_running_loop()
    ends, pause = loop.time() + seconds, _FIRST_PAUSE
    while True:
        try:
            return await call()
        except (Unavailable, Throttled) as error:
            wait = max(pause, error.retry_after or 0.0)
            if loop.time() + wait > ends:
                raise
            log.info("api_asked_again", extra={"error": error.code, "seconds": wait})
        await asyncio.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _headers(ask: Ask) -> dict[str, str]:
    headers = {LEASES_HEADER: names_of(ask.leases)} if ask.leases else {}
    return headers | ({} if ask.body is None else {"Content-Type": ask.content_type})


async def _check(response: aiohttp.ClientResponse, *, knocks: bool) -> None:
    """Raise what the API answered, if it was no success."""
    if response.status < 300:  # noqa: PLR2004 - RFC 9110
        return
    said = _said(await response.content.read(_REFUSAL_BYTES))
    given = response.headers.get("Retry-After", "")
    wait = float(given[:6]) if given.isdecimal() else None
    error = answered(said["code"], said["detail"], fix=said["fix"], retry_after=wait)
    if response.status in {401, 403}:
        raise _refused(response.status, error, knocks=knocks)
    raise error or _unknown(response.status, wait)


def _refused(status: int, error: VectorFlowError | None, *, knocks: bool) -> VectorFlowError:
    """Say that the key lets us in no more; a proxy before the API may say so too."""
    message = error.message if error else "the API does not let this worker in"
    fix = (error.fix if error else "") or "check its key"
    if not knocks:
        return _unreached(message, fix)
    return Unauthorized(message, fix=fix) if status == 401 else Forbidden(message, fix=fix)  # noqa: PLR2004 - RFC 9110


def _unknown(status: int, wait: float | None) -> Unavailable:
    """Say that something else than the API has answered; no document is to blame."""
    fix = "check the URL of the server and what stands before it"
    return Unavailable(f"the API answered {status}", fix=fix, retry_after=wait)


def _unreached(message: str, fix: str) -> Unavailable:
    error = Unavailable(message, fix=fix)
    error.system = API
    return error


def _said(body: bytes) -> Mapping[str, str]:
    """Read the problem details of a refusal; a proxy's page has none."""
    said: object = None
    with contextlib.suppress(ValueError):
        said = json.loads(body)
    given = said if isinstance(said, dict) else {}
    return {name: str(given.get(name, ""))[:1000] for name in ("code", "detail", "fix")}


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """Turn what aiohttp raises into our errors, without the cause: it may quote the URL."""
    try:
        yield
    except TimeoutError:
        raise Unavailable("the API took too long") from None
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError):
        fix = "check its certificate, and that an authority of this system signed it"
        raise _unreached("there is no TLS with the API", fix) from None
    except aiohttp.ClientConnectorError:
        fix = "check that it runs, and the URL of the server"
        raise _unreached("the API cannot be reached", fix) from None
    except (aiohttp.ClientError, OSError):
        raise Unavailable("the API broke the connection") from None
