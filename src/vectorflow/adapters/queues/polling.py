"""No queue at all: nothing is sent, workers look for work by themselves."""

import time
from collections.abc import Collection

from vectorflow.ports.queue import Queue, WakeUp


class PollingQueue(Queue):
    """Keeps nothing and reaches nobody."""

    wakes = False

    def __init__(self, url: str = "polling://", *, prefix: str = "") -> None:
        del url, prefix
        self.dropped = 0

    def check(self, wakeups: Collection[WakeUp]) -> None:
        pass

    def send(self, wakeups: Collection[WakeUp]) -> None:
        pass

    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        del wakeups
        time.sleep(seconds)
        return frozenset()

    def close(self) -> None:
        pass
