"""Listening to a queue: from a thread of its own, as brokers are waited for in blocking calls."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from vectorflow.errors import VectorFlowError
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.ports.queue import Queue, WakeUp

log = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Between two tries while the broker is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """How patient a listener is, in seconds."""

    wait_seconds: float = 0.5
    """That one call listens: how long an end may have to wait."""
    silent_seconds: float = 60.0
    """Without a wake-up, after which work that is ready makes the connection suspect."""
    first_pause: float = 0.5
    """After the first call that failed; then twice as long, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Whom a listener tells what; each is called from its thread and raises nothing."""

    on_wake: Callable[[], None]
    """There may be work."""
    on_health: Callable[[bool], None]
    """Whether the broker can be relied on from now on."""
    is_backlog: Callable[[], bool]
    """Whether work is ready that somebody could claim."""


class Listener:
    """Waits for wake-ups as long as it lives, through every fault of the broker."""

    def __init__(
        self,
        make: Callable[[], Queue],
        wakeups: Collection[WakeUp],
        ears: Ears,
        options: ListenerOptions,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._make = make
        self._wakeups = wakeups
        self._ears = ears
        self._options = options
        self._metrics = metrics
        self._stop = threading.Event()
        self._healthy = False
        self._heard_at = 0.0
        self._thread = threading.Thread(target=self._run, name="queue-listener", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns when the thread has ended, or is stuck in the broker."""
        self._stop.set()
        self._thread.join(self._options.wait_seconds + 5.0)

    def _run(self) -> None:
        queue: Queue | None = None
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                queue = queue or self._make()
                self._listen(queue)
                pause = 0.0
            except VectorFlowError as error:
                self._lose(error.code)
                pause = min(pause * 2 or self._options.first_pause, LONGEST_PAUSE)
            except Exception:  # a fault of ours must not leave the worker deaf
                log.exception("listener_failed")
                self._lose("unexpected")
                pause = LONGEST_PAUSE
        if queue is not None:
            queue.close()

    def _listen(self, queue: Queue) -> None:
        if not self._healthy:
            self._heard_at = time.monotonic()
        heard = queue.receive(self._wakeups, self._options.wait_seconds)
        self._find()
        if heard:
            self._metrics.count("vectorflow_queue_messages_received_total", len(heard))
            self._heard_at = time.monotonic()
            self._ears.on_wake()
        elif time.monotonic() - self._heard_at >= self._options.silent_seconds:
            self._suspect(queue)

    def _suspect(self, queue: Queue) -> None:
        """Connect anew, if there is something that we should have heard of."""
        self._heard_at = time.monotonic()
        if self._ears.is_backlog():
            log.warning("queue_silent", extra={"seconds": self._options.silent_seconds})
            queue.close()
            self._ears.on_wake()

    def _find(self) -> None:
        if not self._healthy:
            self._healthy = True
            log.info("queue_found")
            self._ears.on_health(True)

    def _lose(self, error: str) -> None:
        self._metrics.count("vectorflow_queue_errors_total", call="receive")
        if self._healthy:
            self._healthy = False
            log.warning("queue_lost", extra={"error": error})
            self._ears.on_health(False)
