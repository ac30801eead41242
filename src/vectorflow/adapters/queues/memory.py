"""The queue in this process's memory: for tests; it ends with the process."""

import threading
from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from vectorflow.ports.queue import ENOUGH, Queue, WakeUp, packed, unpacked


def _waiting() -> defaultdict[str, deque[bytes]]:
    return defaultdict(lambda: deque(maxlen=ENOUGH))


@dataclass(slots=True)
class Broker:
    """Messages by the name of their queue, and the lock that guards them."""

    waiting: defaultdict[str, deque[bytes]] = field(default_factory=_waiting)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, name: str, body: bytes) -> None:
        """Append any message."""
        with self.changed:
            self.waiting[name].append(body)
            self.changed.notify_all()


brokers: defaultdict[str, Broker] = defaultdict(Broker)
"""By URL."""


class MemoryQueue(Queue):
    """`memory://name`: all that name the same share their messages."""

    wakes = True

    def __init__(self, url: str, *, prefix: str = "vectorflow") -> None:
        self._broker = brokers[url]
        self._prefix = prefix
        self.dropped = 0

    def check(self, wakeups: Collection[WakeUp]) -> None:
        pass

    def send(self, wakeups: Collection[WakeUp]) -> None:
        for wakeup in wakeups:
            self._broker.put(self._name(wakeup), packed(wakeup))

    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        names = [self._name(wakeup) for wakeup in wakeups]
        waiting = self._broker.waiting
        with self._broker.changed:
            self._broker.changed.wait_for(lambda: any(waiting[name] for name in names), seconds)
            bodies = [waiting[name].popleft() for name in names if waiting[name]]
        heard = [unpacked(body) for body in bodies]
        self.dropped += heard.count(None)
        return frozenset(one for one in heard if one is not None)

    def close(self) -> None:
        pass

    def _name(self, wakeup: WakeUp) -> str:
        return f"{self._prefix}-{wakeup.label}"
