"""Wake-ups through a message broker: RabbitMQ, Redis or SQS, each by kombu."""

import time
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue as BrokerQueue
from kombu.message import Message
from kombu.messaging import Consumer, Producer

from vectorflow.adapters._kombu_brokers import read_url
from vectorflow.adapters._kombu_errors import raised_by, translated
from vectorflow.errors import Unavailable
from vectorflow.ports.queue import ENOUGH, Queue, WakeUp, packed, unpacked

HEARTBEAT = 10.0
"""Seconds between signs of life of RabbitMQ; a listener misses two and connects anew."""

ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 1_000_000,  # nothing is thrown away for having come back often
    "x-max-length": ENOUGH,
}
"""Of queues in RabbitMQ."""


class KombuQueue(Queue):
    """`amqp(s)://`, `redis(s)://` or `sqs://`: a queue of its own for each wake-up there is."""

    wakes = True

    def __init__(self, url: str, *, prefix: str = "vectorflow") -> None:
        """Read the address; nothing is connected yet.

        Raises:
            InvalidSetting: The address cannot be one.
            MissingExtra: The library for this broker is not installed.
        """
        self._broker = read_url(url)
        self._prefix = prefix
        self._session: _Session | None = None
        self.dropped = 0

    def check(self, wakeups: Collection[WakeUp]) -> None:
        self.receive(wakeups, 0.0)

    def send(self, wakeups: Collection[WakeUp]) -> None:
        was_open = self._session is not None
        try:
            self._send(wakeups)
        except Unavailable:
            if not was_open:
                raise
            self._send(wakeups)  # the connection was merely old

    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        with self._open(HEARTBEAT) as session:
            session.listen(self._name(wakeup) for wakeup in wakeups)
            heard = [unpacked(body) for body in session.drain(seconds)]
        self.dropped += heard.count(None)
        return frozenset(one for one in heard if one is not None)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _send(self, wakeups: Collection[WakeUp]) -> None:
        with self._open() as session:
            for wakeup in wakeups:
                session.send(self._name(wakeup), packed(wakeup))

    def _name(self, wakeup: WakeUp) -> str:
        return f"{self._prefix}-{wakeup.label}"

    @contextmanager
    def _open(self, heartbeat: float = 0.0) -> Generator["_Session"]:
        """Give the session, made where there is none; an error ends it."""
        connection = self._session.connection if self._session else self._connection(heartbeat)
        try:
            if self._session is None:
                self._session = _Session(connection, self._broker.prefetch)
            yield self._session
        except raised_by(connection) as error:
            self._session = None
            _abandon(connection)
            raise translated(error, self._broker.place) from error

    def _connection(self, heartbeat: float) -> Connection:
        return self._broker.connection(heartbeat=heartbeat)


class _Session:
    """One connection to a broker, from its start to its first error.

    kombu would connect anew by itself, and listen to nothing then; so it is asked for as little as
    can be, and whatever fails ends the session.
    """

    def __init__(self, connection: Connection, prefetch: int) -> None:
        self.connection = connection
        connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
        self._line = connection.connection
        self._channel: Any = connection.channel()
        self._channel.Message = _as_sent(self._channel.Message)
        self._channel.basic_qos(0, prefetch, False)
        self._producer = Producer(self._channel, auto_declare=False)
        self._listening: set[str] = set()
        self._bodies: list[object] = []

    def send(self, name: str, body: bytes) -> None:
        """Send a message, unless enough of its kind wait already."""
        if self._declare(name) < ENOUGH:
            self._producer.publish(
                body,
                routing_key=name,
                exchange="",
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
            )

    def listen(self, names: Iterable[str]) -> None:
        """Have messages of these queues come, beside those of before."""
        for name in set(names) - self._listening:
            self._declare(name)
            Consumer(
                self._channel,
                queues=[_queue(name)],
                on_message=self._take,
                auto_declare=False,
                on_decode_error=self._take_broken,
            ).consume()
            self._listening.add(name)

    def drain(self, seconds: float) -> list[object]:
        """Wait for messages, and give the bodies of those that came."""
        transport = self.connection.transport
        ends = time.monotonic() + seconds
        while not self._bodies and (left := ends - time.monotonic()) > 0:
            with suppress(TimeoutError):
                transport.drain_events(self._line, timeout=min(left, 1.0))
            transport.heartbeat_check(self._line)
        bodies, self._bodies = self._bodies, []
        return bodies

    def close(self) -> None:
        """Say goodbye, where anybody listens."""
        with suppress(*raised_by(self.connection)):
            self.connection.release()

    def _declare(self, name: str) -> int:
        """Make a queue where it is missing, and give the number of messages in it."""
        return int(_queue(name)(self._channel).queue_declare().message_count)

    def _take(self, message: Message) -> None:
        message.ack()
        self._bodies.append(message.body)

    def _take_broken(self, message: Message, _error: Exception) -> None:
        message.ack()
        self._bodies.append(None)


def _as_sent(kind: type[Message]) -> type:
    """Let messages stay packed: kombu unpacks kilobytes to gigabytes where a header says so."""

    def keep(message: Message, given: dict[str, object]) -> None:
        vars(message)["headers"] = {name: given[name] for name in given if name != "compression"}

    def kept(message: Message) -> dict[str, object]:
        headers: dict[str, object] = vars(message)["headers"]
        return headers

    return type("AsSent", (kind,), {"headers": property(kept, keep)})


def _queue(name: str) -> BrokerQueue:
    return BrokerQueue(name, exchange="", routing_key=name, queue_arguments=ARGUMENTS)


def _abandon(connection: Connection) -> None:
    with suppress(*raised_by(connection)):
        connection.collect()
