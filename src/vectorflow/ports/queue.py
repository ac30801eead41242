"""The port `queue`: wakes workers up, and is never truth."""

import json
from abc import abstractmethod
from collections.abc import Collection
from typing import NamedTuple, Protocol, runtime_checkable

from vectorflow.domain.jobs import LANES, BatchKind

VERSION = 1
"""Of what a message says; one of another version is dropped."""

MAX_BYTES = 1024
"""Of a message; a longer one is none of ours."""

ENOUGH = 1000
"""Wake-ups that wait in one queue: more would wake nobody else."""

CALL_SECONDS = 10.0
"""What a broker that stands still may cost one call beside the time it is told to wait, at most."""


class WakeUp(NamedTuple):
    """There may be ready batches of this kind in this lane: all that a message says."""

    lane: int
    kind: BatchKind

    @property
    def label(self) -> str:
        """The part of a queue's name that is its own."""
        return f"{self.lane}-{self.kind}"


ALL = tuple(WakeUp(lane, kind) for lane in LANES for kind in BatchKind)
"""Every wake-up there is."""


@runtime_checkable
class Queue(Protocol):
    """Carries wake-ups from whoever makes batches ready to one of the workers that wait for it.

    A wake-up that was sent reaches one listener or more; several that are equal may become one, and
    none has a place in an order. What is lost is found by polling, so nothing more is asked of a
    broker. Queues are made where they are missing, also after somebody deleted them.

    An instance belongs to one thread. It connects when it is first used, and again after an error.
    A call ends `CALL_SECONDS` after its time at the latest.

    Each method raises KeyRefused or InvalidSetting where a person has to change something, and
    Unavailable where it may help to wait.
    """

    wakes: bool
    """False where nothing is ever sent: workers only poll, and no thread need listen."""
    dropped: int
    """Messages so far that were no wake-ups, or of a version unknown here."""

    @abstractmethod
    def check(self, wakeups: Collection[WakeUp]) -> None:
        """Connect, and see that these can be sent and received with this account."""
        ...

    @abstractmethod
    def send(self, wakeups: Collection[WakeUp]) -> None:
        """Send wake-ups; they are in the hands of the broker when it returns."""
        ...

    @abstractmethod
    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        """Wait for wake-ups of these and acknowledge what came; empty where none did in time."""
        ...

    @abstractmethod
    def close(self) -> None:
        """Let go of the broker; the next call connects anew. It raises nothing."""
        ...


def packed(wakeup: WakeUp) -> bytes:
    """Write a wake-up as a message."""
    return json.dumps({"version": VERSION, "lane": wakeup.lane, "kind": wakeup.kind}).encode()


def unpacked(body: object) -> WakeUp | None:
    """Read a message; None for what is no wake-up that is known here."""
    if not isinstance(body, bytes | str) or len(body) > MAX_BYTES:
        return None
    try:
        said: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return next((one for one in ALL if said == json.loads(packed(one))), None)
