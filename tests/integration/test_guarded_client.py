"""The guarded client against real servers; names are looked up in what a test injects."""

import asyncio
import contextlib
import gzip
import ipaddress
import socket
import ssl
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.local_servers import MARK, Handler, answering, hello, serving, speaking, to
from vectorflow.adapters._addresses import Lookup, hook_policy
from vectorflow.adapters._http import Call, GuardedClient
from vectorflow.errors import (
    ForbiddenAddress,
    HookRefused,
    Throttled,
    TooLarge,
    Unavailable,
    VectorFlowError,
)

ELSEWHERE = "127.0.0.2"
"""Another machine, so to say."""


class Names:
    """A lookup that gives the answers for a name in turn, the last one for ever."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self._answers = {name: list(given) for name, given in answers.items()}
        self.asked = 0

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked += 1
        answers = self._answers[host.partition(".")[0]]
        return [answers.pop(0) if len(answers) > 1 else answers[0]]


def client(
    *allow: str,
    idle: float = 5.0,
    lookup: Lookup | None = None,
    tls: ssl.SSLContext | None = None,
    offline: bool = False,
) -> GuardedClient:
    names = lookup or Names(hooks=["127.0.0.1"])
    return GuardedClient(hook_policy(allow, offline=offline), idle=idle, lookup=names, tls=tls)


def get(port: int, path: str = "/", *, host: str = "127.0.0.1", redirects: int = 0) -> Call:
    url = f"http://{host}:{port}{path}?token={MARK}"
    return Call(url=url, seconds=5.0, redirects=redirects, headers={"X-Key": MARK})


async def text_of(guarded: GuardedClient, call: Call, limit: int = 1 << 20) -> str:
    async with guarded, guarded.call(call) as answer:
        return (await answer.read(limit)).decode()


async def failure_of(guarded: GuardedClient, call: Call, limit: int = 1 << 20) -> VectorFlowError:
    """Give the error of a call, which must show nothing but the host."""
    with pytest.raises(VectorFlowError) as caught:
        await text_of(guarded, call, limit)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert MARK not in shown + repr(call)
    return caught.value


async def test_a_private_address_is_not_called() -> None:
    async with serving(hello) as server:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost"):
            error = await failure_of(client(lookup=answer_local), get(server.port, host=host))
            assert isinstance(error, ForbiddenAddress)

    assert server.requests == []


async def answer_local(_host: str, _port: int) -> Sequence[str]:
    return ["::1", "127.0.0.1"]


async def test_what_is_let_in_is_called_by_its_name() -> None:
    async with serving(hello) as server:
        assert await text_of(client("hooks.test"), get(server.port, host="hooks.test")) == "hello"

    assert server.requests[0].headers["Host"] == f"hooks.test:{server.port}"
    assert server.requests[0].headers["X-Key"] == MARK
    assert "Cookie" not in server.requests[0].headers


async def test_a_name_is_looked_up_once_and_connected_to_where_it_was_judged() -> None:
    names = Names(rebind=[ELSEWHERE, "127.0.0.1"])
    async with serving(hello) as inner, serving(hello, host=ELSEWHERE, port=inner.port) as outer:
        # Only the other machine is let in, by its address.
        guarded = client(f"{ELSEWHERE}/32", lookup=names)
        async with guarded:
            async with guarded.call(get(inner.port, host="rebind.test")) as answer:
                assert await answer.read(100) == b"hello"
            assert names.asked == 1
            async with guarded.call(get(inner.port, host="rebind.test")) as answer:
                assert await answer.read(100) == b"hello"
        assert len(outer.requests) == 2

        error = await failure_of(guarded, get(inner.port, host="rebind.test"))

    assert isinstance(error, ForbiddenAddress)
    assert inner.requests == []


async def test_an_address_that_does_not_answer_is_not_looked_up_again() -> None:
    names = Names(rebind=["203.0.113.7", "127.0.0.1"])
    async with serving(hello) as inner:
        guarded = client("203.0.113.0/24", lookup=names, idle=0.3)

        error = await failure_of(guarded, get(inner.port, host="rebind.test"))

    assert isinstance(error, Unavailable)
    assert names.asked == 1
    assert inner.requests == []


async def test_an_ended_connection_is_judged_anew() -> None:
    async def close(_request: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Connection": "close"})

    names = Names(rebind=[ELSEWHERE, "127.0.0.1"])
    async with (
        serving(close) as inner,
        serving(close, host=ELSEWHERE, port=inner.port),
        client(ELSEWHERE, lookup=names) as guarded,
    ):
        async with guarded.call(get(inner.port, host="rebind.test")):
            pass
        with pytest.raises(ForbiddenAddress):
            async with guarded.call(get(inner.port, host="rebind.test")):
                pass

    assert inner.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_without_the_headers(status: int) -> None:
    async with serving(hello) as last:
        where = f"http://hooks.test:{last.port}/found"
        async with serving(to(where, status)) as first:
            guarded = client("127.0.0.1", "hooks.test")
            assert await text_of(guarded, get(first.port, redirects=3)) == "hello"

    assert last.requests[0].path == "/found"
    assert "X-Key" not in last.requests[0].headers
    assert MARK not in str(last.requests[0].headers)


async def test_redirects_may_be_relative_and_are_followed_as_written() -> None:
    async def back(request: web.Request) -> web.StreamResponse:
        if request.raw_path.startswith("/a/b"):
            return web.Response(headers={"Location": "../d%2Fe?x=%2F+%20"}, status=302)
        return web.Response(text=request.raw_path)

    async with serving(back) as server:
        found = await text_of(client("127.0.0.1"), get(server.port, "/a/b", redirects=1))

    assert found == "/d%2Fe?x=%2F+%20"


async def test_path_and_query_are_sent_as_written() -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        return web.Response(text=request.raw_path)

    async with serving(echo) as server:
        path = "/a%2Fb/../c%7E+d?X-Sig=a%2Bb%2f&e=&y=~%20+"
        call = Call(url=f"http://127.0.0.1:{server.port}{path}", seconds=5.0)
        assert await text_of(client("127.0.0.1"), call) == path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "inner.test"])
async def test_redirects_are_judged(host: str) -> None:
    names = Names(hooks=["127.0.0.1"], localhost=["127.0.0.1"], inner=["127.0.0.1"])
    async with serving(hello) as inner:
        where = f"http://{host}:{inner.port}/?token={MARK}"
        async with serving(to(where)) as first:
            guarded = client("hooks.test", lookup=names)
            error = await failure_of(guarded, get(first.port, host="hooks.test", redirects=3))

    assert isinstance(error, ForbiddenAddress)
    assert inner.requests == []


@pytest.mark.parametrize(
    "where", ["file:///etc/passwd", "http://u:p@127.0.0.1/", "http://[", "//:1"]
)
async def test_redirects_to_no_address_are_refused(where: str) -> None:
    async with serving(to(where)) as server:
        error = await failure_of(client("127.0.0.1"), get(server.port, redirects=3))

    assert isinstance(error, ForbiddenAddress | HookRefused)
    assert len(server.requests) == 1


async def test_redirects_to_nowhere_are_refused() -> None:
    async with serving(answering(302)) as server:
        error = await failure_of(client("127.0.0.1"), get(server.port, redirects=3))

    assert str(error) == "'127.0.0.1' redirects to nowhere"


async def test_redirects_in_a_circle_end() -> None:
    async with serving(to("/again")) as server:
        error = await failure_of(client("127.0.0.1"), get(server.port, redirects=3))

    assert isinstance(error, HookRefused)
    assert "redirects more than 3 times" in str(error)
    assert len(server.requests) == 4


async def test_redirects_are_given_to_the_caller_who_wants_none() -> None:
    async with (
        serving(to("/again")) as server,
        client("127.0.0.1") as guarded,
        guarded.call(get(server.port)) as answer,
    ):
        assert answer.status == 302

    assert len(server.requests) == 1


async def test_redirects_share_one_time() -> None:
    async def slow(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.Response(status=302, headers={"Location": "/again"})

    async with serving(slow) as server:
        call = Call(url=f"http://127.0.0.1:{server.port}/", seconds=0.3, redirects=3)
        error = await failure_of(client("127.0.0.1"), call)

    assert str(error) == "'127.0.0.1' took too long"
    assert len(server.requests) == 2


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(hello) as server, serving(answering(500)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await text_of(client("127.0.0.1"), get(server.port)) == "hello"

    assert proxy.requests == []


async def test_cookies_are_not_kept() -> None:
    handler = answering(200, Set_Cookie=f"session={MARK}; Path=/")
    async with serving(handler) as server, client("hooks.test") as guarded:
        for _ in range(2):
            async with guarded.call(get(server.port, host="hooks.test")):
                pass

    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]


async def test_connections_are_used_again() -> None:
    peers: set[object] = set()

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="hello")

    async with serving(note) as server, client("127.0.0.1") as guarded:
        for _ in range(3):
            async with guarded.call(get(server.port)) as answer:
                await answer.read(100)

    assert len(peers) == 1


async def test_slow_drops_end_with_the_time_of_the_call() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with speaking(head, *[b"x"] * 1000, pause=0.05) as port:
        call = Call(url=f"http://127.0.0.1:{port}/", seconds=0.5)
        start = time.monotonic()
        error = await failure_of(client("127.0.0.1"), call)

    assert str(error) == "'127.0.0.1' took too long"
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_silence_ends_a_call(sent: bytes) -> None:
    async with speaking(sent, pause=30) as port:
        start = time.monotonic()
        error = await failure_of(client("127.0.0.1", idle=0.2), get(port))

    assert str(error) == "'127.0.0.1' took too long"
    assert time.monotonic() - start < 3


async def test_a_lookup_that_hangs_ends_a_call() -> None:
    async def hang(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return []

    call = Call(url="https://hooks.test/", seconds=0.2)
    error = await failure_of(client(lookup=hang), call)

    assert str(error) == "'hooks.test' took too long"


async def test_an_endless_body_ends_at_the_limit() -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(OSError):
            while True:
                await response.write(bytes(1 << 16))
        return response

    async with serving(pour) as server:
        error = await failure_of(client("127.0.0.1"), get(server.port), limit=1_000_000)

    assert isinstance(error, TooLarge)
    assert "1,000,000 bytes" in str(error)


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    async with serving(hello) as server:
        assert await text_of(client("127.0.0.1"), get(server.port), limit=5) == "hello"
        assert await failure_of(client("127.0.0.1"), get(server.port), limit=4)


async def test_compressed_bodies_stay_as_they_are() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    async def explode(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with (
        serving(explode) as server,
        client("127.0.0.1") as guarded,
        guarded.call(get(server.port)) as answer,
    ):
        assert answer.encoding == "gzip"
        assert await answer.read(len(bomb)) == bomb

    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + MARK.encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + MARK.encode(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"SSH-2.0-" + MARK.encode() + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"HTTP/1.1 200 " + MARK.encode() * 10_000 + b"\r\n\r\n",
    ],
)
async def test_broken_answers_are_tried_again(sent: bytes) -> None:
    async with speaking(sent) as port:
        error = await failure_of(client("127.0.0.1"), get(port))

    assert str(error) == "'127.0.0.1' broke the connection"
    assert isinstance(error, Unavailable)


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = await failure_of(client("127.0.0.1"), get(unused.getsockname()[1]))

    assert str(error) == "'127.0.0.1' cannot be reached"
    assert isinstance(error, Unavailable)


async def trouble_of(handler: Handler) -> Exception | None:
    async with (
        serving(handler) as server,
        client("127.0.0.1") as guarded,
        guarded.call(get(server.port)) as answer,
    ):
        return answer.trouble()


@pytest.mark.parametrize("status", [200, 204, 304, 400, 401, 404, 410, 413, 422])
async def test_a_status_that_will_not_change_is_no_trouble(status: int) -> None:
    assert await trouble_of(answering(status)) is None


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 599])
async def test_a_status_that_may_change_is_tried_again(status: int) -> None:
    trouble = await trouble_of(answering(status))

    assert isinstance(trouble, Unavailable)
    assert str(trouble) == f"'127.0.0.1' answered {status}"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999999", 3600.0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("-5", None),
        ("1e9", None),
        ("nan", None),
        ("soon", None),
        ("Wed, 99 Foo 99999 99:99:99 GMT", None),
        ("\u0663", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_is_as_long_as_asked_for(
    status: int, given: str, seconds: float | None
) -> None:
    trouble = await trouble_of(answering(status, Retry_After=given))

    assert isinstance(trouble, Throttled if status == 429 else Unavailable)
    assert trouble.retry_after == seconds


async def test_offline_only_this_machine_is_called() -> None:
    async with serving(hello) as server:
        here = client("127.0.0.1", "hooks.test", offline=True)
        assert await text_of(here, get(server.port)) == "hello"

        error = await failure_of(here, get(server.port, host="hooks.test"))

    assert "VECTORFLOW_OFFLINE" in str(error)
    assert len(server.requests) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate for `hooks.test`, and who trusts it."""

    server: ssl.SSLContext
    trusting: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.test")])
    names = [x509.DNSName("hooks.test"), x509.IPAddress(ipaddress.ip_address(ELSEWHERE))]
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return Certificate(server=server, trusting=ssl.create_default_context(cafile=str(path)))


async def test_tls_is_with_the_name_though_the_address_is_connected_to(
    certificate: Certificate,
) -> None:
    shown: list[str | None] = []
    certificate.server.sni_callback = lambda _socket, name, _context: shown.append(name)
    async with serving(hello, tls=certificate.server) as server:
        guarded = client("hooks.test", tls=certificate.trusting)
        call = Call(url=f"https://hooks.test:{server.port}/", seconds=5.0)
        assert await text_of(guarded, call) == "hello"

    assert shown == ["hooks.test"]
    assert server.requests[0].headers["Host"] == f"hooks.test:{server.port}"


@pytest.mark.parametrize("host", ["hooks.test", "other.test"])
async def test_tls_with_somebody_else_is_refused(certificate: Certificate, host: str) -> None:
    names = Names(hooks=["127.0.0.1"], other=["127.0.0.1"])
    async with serving(hello, tls=certificate.server) as server:
        # The one name is signed by nobody who is trusted, the other is not in the certificate.
        trusting = certificate.trusting if host == "other.test" else None
        guarded = client(host, lookup=names, tls=trusting)
        url = f"https://{host}:{server.port}/?token={MARK}"
        error = await failure_of(guarded, Call(url=url, seconds=5.0))

    assert isinstance(error, Unavailable)
    assert f"no TLS with '{host}'" in str(error)
    assert server.requests == []


async def test_tls_with_what_speaks_none_is_refused() -> None:
    async with serving(hello) as server:
        call = Call(url=f"https://127.0.0.1:{server.port}/?token={MARK}", seconds=5.0)
        error = await failure_of(client("127.0.0.1"), call)

    assert isinstance(error, Unavailable)
