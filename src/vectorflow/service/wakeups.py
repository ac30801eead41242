"""Sending wake-ups: from a thread of its own, so that nobody ever waits for a broker."""

import logging
import threading
import time
from collections.abc import Callable, Collection

from vectorflow.errors import VectorFlowError
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.ports.queue import Queue, WakeUp

log = logging.getLogger(__name__)

APART_SECONDS = 0.1
"""Between two messages of one queue at least: what is made ready meanwhile shares the second."""

IDLE_SECONDS = 30.0
"""After which a connection that nobody needs is closed."""

LONGEST_PAUSE = 30.0
"""Between two tries while the broker is away."""

TOLD_SECONDS = 60.0
"""Between two lines in the log that say so."""


class WakeUps:
    """Takes wake-ups from any thread and sends them, as long as it takes the broker to be there.

    What fails is tried again and harms nobody: the ledger knows what is ready.
    """

    def __init__(self, make: Callable[[], Queue], metrics: Metrics = NO_METRICS) -> None:
        self._make = make
        self._metrics = metrics
        self._queue: Queue | None = None
        self._pending: set[WakeUp] = set()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._told_at = float("-inf")
        self.sent = 0
        self.failed = 0
        """Tries that reached no broker."""

    def wake(self, wakeups: Collection[WakeUp]) -> None:
        """Send these soon; returns at once and raises nothing."""
        if not wakeups or self._closing.is_set():
            return
        with self._changed:
            self._pending.update(wakeups)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, patience: float = 2.0) -> None:
        """Send what waits, if that is quick."""
        self._closing.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(patience)

    def _run(self) -> None:
        pause = APART_SECONDS
        while not (self._closing.is_set() and not self._pending):
            if due := self._take():
                sent = self._send(due)
                pause = APART_SECONDS if sent else min(pause * 2, LONGEST_PAUSE)
                if self._closing.wait(pause) and not sent:
                    break  # a broker that is away keeps no process from ending
        self._let_go()

    def _take(self) -> set[WakeUp]:
        """Wait for wake-ups; after a while the connection is closed meanwhile."""
        with self._changed:
            if self._changed.wait_for(self._is_due, IDLE_SECONDS):
                due, self._pending = self._pending, set()
                return due
        self._let_go()
        with self._changed:
            self._changed.wait_for(self._is_due)
        return set()

    def _is_due(self) -> bool:
        return bool(self._pending) or self._closing.is_set()

    def _send(self, due: set[WakeUp]) -> bool:
        try:
            if self._queue is None:
                self._queue = self._make()
            self._queue.send(due)
        except VectorFlowError as error:
            self._note(error.code)
        except Exception:  # a fault of ours must not end the thread
            log.exception("wake_ups_not_sent")
        else:
            self.sent += len(due)
            self._metrics.count("vectorflow_queue_messages_sent_total", len(due))
            return True
        with self._changed:
            self._pending |= due
        return False

    def _note(self, error: str) -> None:
        self.failed += 1
        self._metrics.count("vectorflow_queue_errors_total", call="send")
        if time.monotonic() - self._told_at >= TOLD_SECONDS:
            self._told_at = time.monotonic()
            log.warning("wake_ups_not_sent", extra={"error": error, "failed": self.failed})

    def _let_go(self) -> None:
        if self._queue is not None:
            self._queue.close()
