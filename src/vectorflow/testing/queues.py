"""What every queue must do. Subclass a suite and give the fixtures that it names."""

import json
import time
from collections.abc import Callable

import pytest

from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import Unavailable
from vectorflow.ports.queue import ALL, CALL_SECONDS, VERSION, Queue, WakeUp, packed

EXTRACT, EMBED = BOTH = [WakeUp(0, kind) for kind in (BatchKind.EXTRACT, BatchKind.EMBED)]

GARBAGE = (
    b"",
    b"\x00\xff\xfe",
    b"not json",
    b"[]",
    b"null",
    b"[" * 900,
    b'{"version": 1, "lane": 0}',
    b'{"version": 1, "lane": 77, "kind": "extract"}',
    b'{"version": 1, "lane": 0, "kind": "dance"}',
    b'{"version": 1, "lane": 0, "kind": "extract"}' + b" " * 100_000,
)
"""Bodies of messages that are no wake-ups."""


class QueueSuite:
    """The laws of the port `queue`, for one that wakes nobody too."""

    patience: float = CALL_SECONDS
    """Seconds in which what was sent has come."""
    short: float = 0.2
    """Seconds in which nothing comes."""

    @pytest.fixture
    def make(self) -> Callable[[], Queue]:
        """Give what makes queues to one place, which is empty."""
        raise NotImplementedError

    def test_a_queue_that_can_be_used_is_checked_without_complaint(
        self, make: Callable[[], Queue]
    ) -> None:
        queue = make()

        queue.check(ALL)
        queue.check(ALL)
        queue.close()

    def test_where_nothing_was_sent_nothing_comes_in_all_the_time(
        self, make: Callable[[], Queue]
    ) -> None:
        queue = make()
        queue.check(ALL)
        began = time.monotonic()

        heard = queue.receive(ALL, self.short)

        assert heard == frozenset()
        assert self.short * 0.8 <= time.monotonic() - began <= self.short + CALL_SECONDS
        assert queue.dropped == 0
        queue.close()

    def test_sending_needs_nobody_who_listens(self, make: Callable[[], Queue]) -> None:
        queue = make()

        queue.send([EXTRACT])
        queue.send([EXTRACT, EMBED])
        queue.send([])
        queue.close()

    def test_a_queue_may_be_closed_at_any_time_and_used_again(
        self, make: Callable[[], Queue]
    ) -> None:
        queue = make()
        queue.close()
        queue.send([EXTRACT])
        queue.close()
        queue.close()
        queue.send([EXTRACT])
        queue.receive([EMBED], 0.0)
        queue.close()
        queue.check(ALL)
        queue.close()


class WakingQueueSuite(QueueSuite):
    """The laws of a queue that carries wake-ups."""

    @pytest.fixture
    def put(self) -> Callable[[WakeUp, bytes], None]:
        """Give what puts any message where this wake-up would be; its queue is there."""
        raise NotImplementedError

    @pytest.fixture
    def remove(self) -> Callable[[WakeUp], None]:
        """Give what removes the queue of a wake-up behind everybody's back."""
        raise NotImplementedError

    def test_it_says_that_it_wakes(self, make: Callable[[], Queue]) -> None:
        assert make().wakes

    def test_what_one_sends_another_hears(self, make: Callable[[], Queue]) -> None:
        sender, listener = make(), make()
        listener.check(BOTH)

        sender.send([EXTRACT])

        assert self._heard(listener, BOTH, 1) == {EXTRACT}
        _close(sender, listener)

    def test_what_was_sent_waits_for_who_comes_later(self, make: Callable[[], Queue]) -> None:
        sender = make()
        sender.send([EXTRACT, EMBED])
        sender.close()

        listener = make()

        assert self._heard(listener, BOTH, 2) == {EXTRACT, EMBED}
        _close(listener)

    def test_who_listens_for_one_kind_hears_of_no_other(self, make: Callable[[], Queue]) -> None:
        queue, other = make(), make()
        queue.send([EXTRACT])

        assert queue.receive([EMBED], self.short) == frozenset()
        assert self._heard(other, [EXTRACT], 1) == {EXTRACT}
        _close(queue, other)

    def test_what_was_heard_is_not_heard_again(self, make: Callable[[], Queue]) -> None:
        queue = make()
        queue.send([EXTRACT])
        assert self._heard(queue, [EXTRACT], 1) == {EXTRACT}
        queue.close()

        again = make()

        assert again.receive([EXTRACT], self.short) == frozenset()
        assert queue.receive([EXTRACT], self.short) == frozenset()
        _close(again, queue)

    def test_what_is_sent_often_is_heard_and_comes_to_an_end(
        self, make: Callable[[], Queue]
    ) -> None:
        queue = make()
        for _ in range(20):
            queue.send([EXTRACT])

        heard = [queue.receive([EXTRACT], self.patience)]
        while heard[-1] and len(heard) < 30:
            heard.append(queue.receive([EXTRACT], self.short))

        assert heard[0] == {EXTRACT}
        assert heard[-1] == frozenset()
        assert len(heard) <= 21
        queue.close()

    def test_a_message_holds_a_version_a_lane_and_a_kind_and_no_more(
        self, make: Callable[[], Queue]
    ) -> None:
        del make
        said = json.loads(packed(EXTRACT))

        assert said == {"version": VERSION, "lane": 0, "kind": "extract"}

    def test_messages_that_are_no_wake_ups_are_dropped_and_counted(
        self, make: Callable[[], Queue], put: Callable[[WakeUp, bytes], None]
    ) -> None:
        queue = make()
        queue.check(BOTH)
        for body in GARBAGE:
            put(EXTRACT, body)
        queue.send([EMBED])

        assert self._heard(queue, BOTH, 1) == {EMBED}
        self._drop(queue, len(GARBAGE))
        assert queue.receive(BOTH, self.short) == frozenset()
        assert queue.dropped == len(GARBAGE)
        queue.close()

    def test_a_message_of_another_version_is_dropped(
        self, make: Callable[[], Queue], put: Callable[[WakeUp, bytes], None]
    ) -> None:
        queue = make()
        queue.check(BOTH)
        put(EXTRACT, json.dumps(json.loads(packed(EXTRACT)) | {"version": VERSION + 1}).encode())

        self._drop(queue, 1)

        assert queue.dropped == 1
        queue.close()

    def test_a_removed_queue_is_made_again_for_who_sends_and_who_listens(
        self, make: Callable[[], Queue], remove: Callable[[WakeUp], None]
    ) -> None:
        sender, listener = make(), make()
        sender.send([EXTRACT])
        assert self._heard(listener, BOTH, 1) == {EXTRACT}

        remove(EXTRACT)
        self._stir(listener)
        sender.send([EXTRACT])

        assert self._heard(listener, BOTH, 1) == {EXTRACT}
        _close(sender, listener)

    def _heard(self, queue: Queue, wanted: list[WakeUp], most: int) -> set[WakeUp]:
        """Listen until so many were heard, or the patience is at its end."""
        ends, heard = time.monotonic() + self.patience, set[WakeUp]()
        while len(heard) < most and time.monotonic() < ends:
            heard |= queue.receive(wanted, min(1.0, self.patience))
        return heard

    def _drop(self, queue: Queue, most: int) -> None:
        """Listen until so many messages were dropped."""
        ends = time.monotonic() + self.patience
        while queue.dropped < most and time.monotonic() < ends:
            assert queue.receive([EXTRACT], min(1.0, self.patience)) == frozenset()

    def _stir(self, queue: Queue) -> None:
        """Let a listener find out that its queue is gone."""
        try:
            queue.receive(BOTH, self.short)
        except Unavailable:
            queue.receive(BOTH, 0.0)


def _close(*queues: Queue) -> None:
    for queue in queues:
        queue.close()
