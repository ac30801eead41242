"""What a server calls and is called by, for tests: providers, stores and receivers of webhooks."""

import json
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, cast

import httpx

NEVER, RESET = "never", "reset"
"""What a receiver may do instead of answering with a status."""

DOUBLES = ("provider", "qdrant_server", "pinecone_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where the doubles are, each a process of its own."""

    provider: str
    """Base URL, with `/v1`."""
    qdrant: str
    """`http://127.0.0.1:PORT`."""
    pinecone: str
    """URL of the control plane."""

    def stats(self) -> dict[str, object]:
        """What the provider was asked so far."""
        found: dict[str, object] = _get(self.provider.removesuffix("/v1") + "/stats").json()
        return found


@contextmanager
def running_outside(
    *, qdrant_key: str = "", provider_keys: Sequence[str] = ()
) -> Iterator[Outside]:
    """Start all doubles at once; keys are what they take."""
    options = {
        "provider": [word for key in provider_keys for word in ("--key", key)],
        "qdrant_server": ["--key", qdrant_key] if qdrant_key else [],
    }
    with ExitStack() as stack:
        started = [stack.enter_context(_double(name, *options.get(name, []))) for name in DOUBLES]
        provider, qdrant, pinecone = map(_first_line, started)
        qdrant = qdrant.replace("qdrant://", "http://")
        yield Outside(provider=provider, qdrant=qdrant, pinecone=pinecone)


@contextmanager
def _double(name: str, *options: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", f"vectorflow.testing.{name}", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, f"{process.args} did not start"
    return line


def _get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=30).raise_for_status()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request that came in."""

    path: str
    """With its query."""
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes
    at: float
    """By the monotonic clock."""

    @property
    def json(self) -> dict[str, object]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def chunks(self) -> list[dict[str, object]]:
        """What a webhook was sent."""
        return cast("list[dict[str, object]]", self.json["Embeddings"])


Answer = int | str | bytes | Mapping[str, object]
"""A status, what else to do, a file, or JSON."""


@dataclass(slots=True, kw_only=True)
class Spot:
    """A path of a receiver: what came there, and how it answers."""

    url: str
    answers: list[Answer | float]
    """In turn, the last one for ever; a float is slept before the next one."""
    say: Callable[[Received], Answer] | None = None
    """Answers instead."""
    received: list[Received] = field(default_factory=list[Received])

    @property
    def chunks(self) -> list[dict[str, object]]:
        """Chunks of all deliveries."""
        return [chunk for request in self.received for chunk in request.chunks]

    def next_answer(self, request: Received) -> tuple[float, Answer]:
        """Seconds to wait, and then what to do."""
        self.received.append(request)
        if self.say:
            return 0.0, self.say(request)
        pause = 0.0
        while isinstance(answer := self._next(), float):
            pause += answer
        return pause, answer

    def _next(self) -> Answer | float:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Receiver:
    """Serves on 127.0.0.1 in threads while it is entered; each test has paths of its own."""

    def __init__(self) -> None:
        self._spots: dict[str, Spot] = {}
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def spot(
        self, path: str, *answers: Answer | float, say: Callable[[Received], Answer] | None = None
    ) -> Spot:
        """Open a path, which answers 200 unless told otherwise."""
        url = f"http://127.0.0.1:{self._server.server_port}{path}"
        spot = Spot(url=url, answers=list(answers) or [200], say=say)
        self._spots[path] = spot
        return spot

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Note a request, and answer it."""
        length = int(handler.headers.get("Content-Length") or 0)
        request = Received(
            path=handler.path,
            headers={name.lower(): value for name, value in handler.headers.items()},
            body=handler.rfile.read(length),
            at=time.monotonic(),
        )
        pause, answer = self._spots[handler.path.partition("?")[0]].next_answer(request)
        self._closing.wait(pause)
        if answer == NEVER:
            self._closing.wait()
        if isinstance(answer, str):
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            handler.connection.close()
            handler.close_connection = True
        else:
            _write(handler, answer)


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            receiver.serve(self)

        do_GET = do_POST  # noqa: N815 - as the library names it

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


def _write(handler: BaseHTTPRequestHandler, answer: int | bytes | Mapping[str, object]) -> None:
    body = answer if isinstance(answer, bytes) else b""
    if isinstance(answer, Mapping):
        body = json.dumps(answer).encode()
    handler.send_response(answer if isinstance(answer, int) else 200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def forwarding(host: str, port: int, url: str) -> Iterator[None]:
    """Let an address of this machine lead to a server at another."""
    target = httpx.URL(url)

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            there = socket.create_connection((target.host, target.port or 80))
            with there:
                back = threading.Thread(target=_pass_on, args=(there, self.request), daemon=True)
                back.start()
                _pass_on(self.request, there)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with Server((host, port), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side hung up
        return
