"""Addresses of message brokers, read for kombu."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kombu.connection import Connection

from vectorflow.errors import InvalidSetting, MissingExtra
from vectorflow.ports.queue import CALL_SECONDS

STEP_SECONDS = CALL_SECONDS / 2
"""For one exchange with a broker: a call may take two."""

KEPT_SECONDS = 3600
"""For which SQS keeps a wake-up that nobody takes."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")

_LIBRARIES = {"redis": ("redis", "redis"), "rediss": ("redis", "redis"), "sqs": ("boto3", "sqs")}
"""Scheme -> library beside kombu, and the extra that brings it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a message broker is, and who we are there."""

    scheme: str
    host: str | None
    port: int | None
    user: str | None
    password: str | None = field(repr=False)
    path: str
    """Virtual host of RabbitMQ, number of a database of Redis."""
    query: Mapping[str, str]

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return self.host in LOOPBACK

    @property
    def place(self) -> str:
        """Its address for people, without the account."""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{self.host or ''}{port}" + (f"/{self.path}" if self.path else "")

    @property
    def prefetch(self) -> int:
        """Messages that a listener holds at once; SQS gives ten for the price of one."""
        return 10 if self.scheme == "sqs" else 1

    def connection(self, *, heartbeat: float) -> Connection:
        """Make a connection, without connecting."""
        host = f"[{self.host}]" if ":" in (self.host or "") and self._is_amqp else self.host
        options: dict[str, Any] = {
            "transport": self.scheme,
            "hostname": host,
            "port": self.port,
            "userid": self.user,
            "password": self.password,
            "virtual_host": self.path or None,
            "ssl": self._tls(),
            "heartbeat": heartbeat,
            "connect_timeout": STEP_SECONDS,
            "transport_options": self._options(),
        }
        return Connection(**options)

    @property
    def _is_amqp(self) -> bool:
        return self.scheme.startswith("amqp")

    def _tls(self) -> dict[str, object] | bool:
        """Say whose certificate is expected: kombu by itself would take anybody's."""
        if self.scheme == "amqps":
            return {"server_hostname": self.host}
        if self.scheme == "rediss":
            return {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        return False

    def _options(self) -> dict[str, object]:
        if self._is_amqp:
            return {
                "confirm_publish": True,
                "read_timeout": STEP_SECONDS,
                "write_timeout": STEP_SECONDS,
            }
        if self.scheme == "sqs":
            return self._sqs_options()
        return {
            "ack_emulation": False,  # a wake-up that dies with its listener is found by polling
            "priority_steps": [0],
            "health_check_interval": int(STEP_SECONDS),
            "socket_timeout": STEP_SECONDS,
            "socket_connect_timeout": STEP_SECONDS,
            "socket_keepalive": True,
        }

    def _sqs_options(self) -> dict[str, object]:
        timeouts = {"connect_timeout": STEP_SECONDS, "read_timeout": STEP_SECONDS}
        options: dict[str, object] = {
            "client-config": {**timeouts, "retries": {"total_max_attempts": 1}},
            "is_secure": not self.is_here,
            "sqs-creation-attributes": {"MessageRetentionPeriod": str(KEPT_SECONDS)},
            "visibility_timeout": 30,
            "wait_time_seconds": 1,  # for each queue in turn
        }
        return options | ({"region": self.query["region"]} if "region" in self.query else {})


def read_url(url: str) -> Broker:
    """Read the address of a broker.

    Raises:
        InvalidSetting: It cannot be one.
        MissingExtra: A library is missing that speaks to brokers of this kind.
    """
    try:
        parts = urlsplit(url)
        broker = Broker(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            path=unquote(parts.path.removeprefix("/")),
            query=dict(parse_qsl(parts.query)),
        )
    except ValueError:
        raise _bad("it cannot be read") from None
    if parts.scheme != "sqs" and broker.host is None:
        raise _bad("it names no host")
    if unknown := broker.query.keys() - ({"region"} if broker.scheme == "sqs" else set()):
        raise _bad(f"it has the unknown parameter {min(unknown)!r}")
    library, extra = _LIBRARIES.get(broker.scheme, ("amqp", "rabbitmq"))
    if find_spec(library) is None:
        raise MissingExtra("queues", broker.scheme, extra)
    return broker


def _bad(why: str) -> InvalidSetting:
    fix = (
        "write amqps://USER:PASSWORD@HOST/VHOST, rediss://:PASSWORD@HOST/0 or sqs://?region=REGION"
    )
    return InvalidSetting(f"the address of the queue is wrong: {why}", fix=fix)
