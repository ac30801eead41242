"""Message brokers for tests: real ones, private where they are killed or filled with users."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import kombu

from vectorflow.ports.queue import ALL, WakeUp

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the script of the same name in /usr/sbin, which changes the user."""

SHARED_RABBITMQ = "amqp://guest:guest@127.0.0.1:5672/"
"""Of a machine that has it running: tests keep to a prefix of their own there."""

PASSWORD = "canary-of-the-broker"  # noqa: S105 - opens a server of this test


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def answers(url: str) -> bool:
    """Whether RabbitMQ answers there."""
    place = urlsplit(url)
    try:
        with socket.create_connection((place.hostname or "", place.port or 0), 2) as line:
            line.settimeout(2)
            line.sendall(b"AMQP\x00\x00\x09\x01")
            return line.recv(1) == b"\x01"
    except OSError:
        return False


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


@dataclass(slots=True)
class RabbitNode:
    """A RabbitMQ of our own on a port of loopback, with a user who may do nothing."""

    folder: Path
    port: int = field(default_factory=free_port)
    names_port: int = field(default_factory=free_port)
    """Of Erlang's name service, which would stay behind if it were the machine's."""
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"amqp://owner:{PASSWORD}@127.0.0.1:{self.port}/"

    @property
    def poor_url(self) -> str:
        """For the user who may do nothing."""
        return f"amqp://nobody:{PASSWORD}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._configure()
        places = ("MNESIA_BASE", "LOG_BASE", "SCHEMA_DIR", "GENERATED_CONFIG_DIR")
        environ = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            **{f"RABBITMQ_{place}": str(self.folder / place.lower()) for place in places},
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"test-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(self.names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 1:1"
            ),
        }
        with (self.folder / "said.log").open("ab") as log:
            self._process = subprocess.Popen(
                [RABBITMQ], env=environ, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: answers(self.url), "the broker to answer", 90.0)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def end(self) -> None:
        """Kill it, and the name service that it started."""
        self.kill()
        stop = ["epmd", "-port", str(self.names_port), "-kill"]
        with suppress(FileNotFoundError):
            subprocess.run(stop, capture_output=True, check=False, timeout=30)

    def _configure(self) -> None:
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"load_definitions = {self.folder / 'definitions.json'}",
            "log.console.level = error",
        ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        users = [{"name": name, "password": PASSWORD, "tags": ""} for name in ("owner", "nobody")]
        may_all = {"user": "owner", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        may_nothing = may_all | {"user": "nobody", "configure": "", "write": "", "read": ""}
        definitions = {
            "users": users,
            "vhosts": [{"name": "/"}],
            "permissions": [may_all, may_nothing],
        }
        (self.folder / "definitions.json").write_text(json.dumps(definitions))


@contextmanager
def rabbit_node() -> Iterator[RabbitNode]:
    """Start a RabbitMQ of our own."""
    folder = Path(tempfile.mkdtemp(prefix="vectorflow-rabbitmq-"))
    node = RabbitNode(folder)
    try:
        node.start()
        yield node
    finally:
        node.end()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server(command: list[str], port: int, folder: Path) -> Iterator[None]:
    """Run a server in the foreground until it listens, and end it."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def listens() -> bool:
        assert process.poll() is None, (folder / "server.log").read_text("utf-8", "replace")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        wait_until(listens, f"{command[0]} to listen")
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "no", "--requirepass", PASSWORD, "--dir", str(folder)]
    with server(command, port, folder):
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"


@contextmanager
def sqs_server(folder: Path) -> Iterator[str]:
    port = free_port()
    start = "from moto.server import main; main()"
    command = [sys.executable, "-c", start, "-H", "127.0.0.1", "-p", str(port)]
    with server(command, port, folder):
        yield f"sqs://key:{PASSWORD}@127.0.0.1:{port}/?region=us-east-1"


class Line:
    """A TCP line to a broker that can fall silent without being cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[tuple[socket.socket, socket.socket, threading.Event]] = []
        self._swallowed: bytes | None = None
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def connections(self) -> int:
        """Made so far."""
        return len(self._open)

    def fall_silent(self) -> None:
        """Forward nothing any more on the connections of now; new ones work."""
        for *_, silent in list(self._open):
            silent.set()

    def fall_silent_at(self, sent: bytes) -> None:
        """Let each connection fall silent, new ones too, with the first piece that holds this."""
        self._swallowed = sent

    def close(self) -> None:
        ends = [end for near, far, _ in self._open for end in (near, far)]
        for end in (self._listener, *ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for end in (self._listener, *ends):
            end.close()

    def _start(self, what: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=what, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target), 5)
                far.settimeout(None)
                silent = threading.Event()
                self._open.append((near, far, silent))
                self._start(self._forward, near, far, silent)
                self._start(self._forward, far, near, silent)

    def _forward(self, one: socket.socket, other: socket.socket, silent: threading.Event) -> None:
        with suppress(OSError):
            while data := one.recv(4096):
                if self._swallowed is not None and self._swallowed in data:
                    silent.set()
                if not silent.is_set():
                    other.sendall(data)
            if not silent.is_set():
                other.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Backdoor:
    """What an operator, or a stranger, does to the queues of a prefix."""

    url: str
    prefix: str
    options: dict[str, object] = field(default_factory=dict)

    def put(self, wakeup: WakeUp, *bodies: bytes, compression: str | None = None) -> None:
        with kombu.Connection(self.url, transport_options=self.options) as connection:
            producer = kombu.Producer(connection.channel(), auto_declare=False)
            for body in bodies:
                producer.publish(
                    body,
                    exchange="",
                    routing_key=self._name(wakeup),
                    content_type="application/octet-stream",
                    content_encoding="binary",
                    compression=compression,
                )

    def purge(self, wakeup: WakeUp) -> int:
        """Empty a queue, and give how many messages were in it."""
        with kombu.Connection(self.url, transport_options=self.options) as connection:
            return int(connection.channel().queue_purge(self._name(wakeup)) or 0)

    def remove(self, wakeup: WakeUp) -> None:
        with kombu.Connection(self.url, transport_options=self.options) as connection:
            connection.channel().queue_delete(self._name(wakeup))

    def size(self, wakeup: WakeUp) -> int:
        with kombu.Connection(self.url, transport_options=self.options) as connection:
            queue = kombu.Queue(self._name(wakeup))(connection.channel())
            made = self.url.startswith("amqp")  # an empty one of Redis is none
            return int(queue.queue_declare(passive=made).message_count)

    def make_classic(self, wakeup: WakeUp) -> None:
        """Make a queue of another type than ours."""
        with kombu.Connection(self.url, transport_options=self.options) as connection:
            kombu.Queue(self._name(wakeup))(connection.channel()).queue_declare()

    def remove_all(self) -> None:
        for wakeup in ALL:
            self.remove(wakeup)

    def _name(self, wakeup: WakeUp) -> str:
        return f"{self.prefix}-{wakeup.label}"
