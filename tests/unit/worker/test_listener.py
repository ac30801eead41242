import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

from tests.scraped import risen
from vectorflow.adapters.metrics.prometheus import PrometheusMetrics, written
from vectorflow.adapters.queues.memory import MemoryQueue
from vectorflow.errors import KeyRefused, Unavailable
from vectorflow.ports.metrics import NO_METRICS, Metrics
from vectorflow.ports.queue import ALL, WakeUp
from vectorflow.testing.queues import EXTRACT
from vectorflow.worker.listener import Ears, Listener, ListenerOptions

PATIENCE = 10.0

Heard = frozenset[WakeUp] | Exception


class Scripted(MemoryQueue):
    """Hears what it is told, one a call, and nothing after that."""

    def __init__(self, *script: Heard) -> None:
        super().__init__("memory://unused")
        self.script = list(script)
        self.calls = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)

    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        assert set(wakeups) == set(ALL)
        self.calls.release()
        heard = self.script.pop(0) if self.script else frozenset()
        if isinstance(heard, Exception):
            raise heard
        return heard

    def close(self) -> None:
        self.closed.release()


class Told:
    """What a listener said."""

    def __init__(self, *, backlog: bool = False) -> None:
        self.woken = threading.Semaphore(0)
        self.health: list[bool] = []
        self.asked = threading.Semaphore(0)
        self._backlog = backlog

    @property
    def ears(self) -> Ears:
        return Ears(
            on_wake=self.woken.release, on_health=self.health.append, is_backlog=self._is_backlog
        )

    def _is_backlog(self) -> bool:
        self.asked.release()
        return self._backlog


@contextmanager
def listening(
    make: Callable[[], MemoryQueue],
    told: Told,
    silent: float = 60.0,
    metrics: Metrics = NO_METRICS,
) -> Iterator[None]:
    options = ListenerOptions(wait_seconds=0.0, silent_seconds=silent, first_pause=0.001)
    listener = Listener(make, ALL, told.ears, options, metrics)
    listener.start()
    try:
        yield
    finally:
        listener.stop()


def wait_for(semaphore: threading.Semaphore, times: int = 1) -> None:
    for _ in range(times):
        assert semaphore.acquire(timeout=PATIENCE)


def test_each_wake_up_wakes() -> None:
    queue, told = Scripted(frozenset([EXTRACT]), frozenset(), frozenset([EXTRACT])), Told()

    with listening(lambda: queue, told):
        wait_for(told.woken, 2)
        wait_for(queue.calls, 5)

    assert not told.woken.acquire(blocking=False)
    assert told.health == [True]
    wait_for(queue.closed)


@pytest.mark.parametrize(
    "error", [Unavailable("away"), KeyRefused("not you"), ZeroDivisionError("a fault of ours")]
)
def test_a_broker_that_is_lost_is_told_of_and_found_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vectorflow.worker.listener.LONGEST_PAUSE", 0.001)
    queue, told = Scripted(frozenset(), error, error, frozenset([EXTRACT])), Told()

    with listening(lambda: queue, told):
        wait_for(told.woken)

    assert told.health == [True, False, True]


def test_a_broker_that_was_never_there_is_no_loss() -> None:
    queue, told = Scripted(*[Unavailable("away")] * 3, frozenset([EXTRACT])), Told()

    with listening(lambda: queue, told):
        wait_for(told.woken)

    assert told.health == [True]


def test_a_queue_that_cannot_be_made_is_tried_again() -> None:
    queue, told = Scripted(frozenset([EXTRACT])), Told()
    tries = iter([Unavailable("no"), Unavailable("no"), queue])

    def make() -> MemoryQueue:
        made = next(tries)
        if isinstance(made, Exception):
            raise made
        return made

    with listening(make, told):
        wait_for(told.woken)

    assert told.health == [True]


def test_silence_with_work_to_do_ends_the_connection_and_wakes() -> None:
    queue, told = Scripted(), Told(backlog=True)

    with listening(lambda: queue, told, silent=0.0):
        wait_for(queue.closed, 3)
        wait_for(told.woken, 3)

    assert told.health == [True]


def test_silence_without_work_is_well() -> None:
    queue, told = Scripted(), Told(backlog=False)

    with listening(lambda: queue, told, silent=0.0):
        wait_for(told.asked, 3)

    assert not told.woken.acquire(blocking=False)
    wait_for(queue.closed)
    assert not queue.closed.acquire(blocking=False)


def test_nobody_is_suspected_before_the_time() -> None:
    queue, told = Scripted(), Told(backlog=True)

    with listening(lambda: queue, told, silent=60.0):
        wait_for(queue.calls, 50)

    assert not told.asked.acquire(blocking=False)


def test_metrics_tell_what_was_heard_and_what_failed() -> None:
    metrics, told = PrometheusMetrics(), Told()
    queue = Scripted(frozenset(ALL[:2]), Unavailable("away"), frozenset({EXTRACT}))

    with listening(lambda: queue, told, metrics=metrics):
        wait_for(told.woken, 2)

    assert risen(written([], metrics)) == {
        "vectorflow_queue_messages_received_total": 3,
        'vectorflow_queue_errors_total{call="receive"}': 1,
    }
