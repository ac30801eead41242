import logging
import threading
from collections.abc import Collection

import pytest

from tests.scraped import risen
from vectorflow.adapters.metrics.prometheus import PrometheusMetrics, written
from vectorflow.adapters.queues.memory import MemoryQueue
from vectorflow.errors import Unavailable
from vectorflow.ports.queue import ALL, Queue, WakeUp
from vectorflow.service import wakeups
from vectorflow.service.wakeups import WakeUps
from vectorflow.testing.queues import EMBED, EXTRACT

PATIENCE = 10.0


class Noting(MemoryQueue):
    """Notes what it is asked, and can be held up or broken."""

    def __init__(self) -> None:
        super().__init__("memory://unused")
        self.sends: list[frozenset[WakeUp]] = []
        self.asked = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None
        self.closed = 0

    def send(self, wakeups: Collection[WakeUp]) -> None:
        self.sends.append(frozenset(wakeups))
        self.asked.release()
        assert self.free.wait(PATIENCE)
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed += 1


def test_a_wake_up_is_sent_at_once() -> None:
    queue = Noting()
    sender = WakeUps(lambda: queue)

    sender.wake([EXTRACT])

    assert queue.asked.acquire(timeout=PATIENCE)
    sender.close()
    assert queue.sends == [{EXTRACT}]
    assert (sender.sent, sender.failed, queue.closed) == (1, 0, 1)


def test_what_becomes_ready_while_one_is_sent_shares_the_next() -> None:
    queue = Noting()
    sender = WakeUps(lambda: queue)
    queue.free.clear()
    sender.wake([EXTRACT])
    assert queue.asked.acquire(timeout=PATIENCE)

    for _ in range(1000):  # returns at once, though the broker stands still
        sender.wake([EXTRACT])
        sender.wake([EMBED])
    queue.free.set()

    assert queue.asked.acquire(timeout=PATIENCE)
    sender.close()
    assert queue.sends == [{EXTRACT}, {EXTRACT, EMBED}]


def test_nothing_to_send_starts_nothing() -> None:
    def make() -> Queue:
        raise AssertionError

    sender = WakeUps(make)
    sender.wake([])
    sender.close()
    sender.wake([EXTRACT])

    assert (sender.sent, sender.failed) == (0, 0)


@pytest.mark.parametrize("error", [Unavailable("away"), ZeroDivisionError("a fault of ours")])
def test_what_could_not_be_sent_is_sent_later(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "LONGEST_PAUSE", 0.01)
    queue = Noting()
    queue.error = error
    sender = WakeUps(lambda: queue)

    sender.wake([EXTRACT])
    assert queue.asked.acquire(timeout=PATIENCE)
    assert queue.asked.acquire(timeout=PATIENCE)
    queue.error = None
    assert queue.asked.acquire(timeout=PATIENCE)
    sender.close()

    assert set(queue.sends) == {frozenset([EXTRACT])}
    assert sender.sent == 1


def test_a_broker_that_is_away_is_told_of_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wakeups, "LONGEST_PAUSE", 0.01)
    queue = Noting()
    queue.error = Unavailable("away")
    sender = WakeUps(lambda: queue)

    with caplog.at_level(logging.WARNING):
        sender.wake([EXTRACT])
        for _ in range(5):
            assert queue.asked.acquire(timeout=PATIENCE)
        sender.close()

    assert [record.message for record in caplog.records] == ["wake_ups_not_sent"]
    assert sender.failed >= 5


def test_an_end_sends_what_waits() -> None:
    queue = Noting()
    sender = WakeUps(lambda: queue)
    sender.wake([EXTRACT])
    assert queue.asked.acquire(timeout=PATIENCE)

    sender.wake(ALL)
    sender.close(PATIENCE)

    assert queue.sends[1:] == [frozenset(ALL)]
    assert queue.closed == 1


def test_a_broker_that_stands_still_keeps_no_process_from_ending() -> None:
    queue = Noting()
    queue.free.clear()
    sender = WakeUps(lambda: queue)
    sender.wake([EXTRACT])
    assert queue.asked.acquire(timeout=PATIENCE)

    sender.close(0.01)

    queue.free.set()


def test_a_broker_that_is_away_keeps_no_process_from_ending() -> None:
    queue = Noting()
    queue.error = Unavailable("away")
    sender = WakeUps(lambda: queue)
    sender.wake([EXTRACT])
    assert queue.asked.acquire(timeout=PATIENCE)

    sender.close(PATIENCE)

    assert queue.closed == 1
    assert sender.sent == 0


def test_a_connection_that_nobody_needs_is_closed_and_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wakeups, "IDLE_SECONDS", 0.01)
    closed = threading.Semaphore(0)

    class Telling(Noting):
        def close(self) -> None:
            super().close()
            closed.release()

    queue = Telling()
    sender = WakeUps(lambda: queue)
    sender.wake([EXTRACT])
    assert closed.acquire(timeout=PATIENCE)

    sender.wake([EMBED])
    sender.close()

    assert queue.sends == [{EXTRACT}, {EMBED}]


def test_metrics_tell_what_was_sent_and_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "LONGEST_PAUSE", 0.01)
    queue, metrics = Noting(), PrometheusMetrics()
    queue.error = Unavailable("away")
    sender = WakeUps(lambda: queue, metrics)

    sender.wake([EXTRACT, EMBED])
    for _ in range(2):
        assert queue.asked.acquire(timeout=PATIENCE)
    queue.error = None
    assert queue.asked.acquire(timeout=PATIENCE)
    sender.close()

    assert sender.failed > 0
    assert risen(written([], metrics)) == {
        "vectorflow_queue_messages_sent_total": 2,
        'vectorflow_queue_errors_total{call="send"}': sender.failed,
    }
