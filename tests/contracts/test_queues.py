import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.brokers import PASSWORD, Backdoor, Line, free_port
from tests.contracts.suites import failures
from vectorflow.adapters import _kombu_brokers
from vectorflow.adapters._kombu_errors import translated
from vectorflow.adapters.queues.kombu import KombuQueue
from vectorflow.adapters.queues.memory import MemoryQueue, brokers
from vectorflow.adapters.queues.polling import PollingQueue
from vectorflow.errors import (
    InvalidSetting,
    KeyRefused,
    MissingExtra,
    Unavailable,
    VectorFlowError,
)
from vectorflow.ports.queue import ALL, ENOUGH, Queue, WakeUp, packed, unpacked
from vectorflow.testing.queues import EMBED, EXTRACT, QueueSuite, WakingQueueSuite

PUBLISH = b"\x00\x3c\x00\x28"
"""How AMQP begins the message `basic.publish`."""

Put = Callable[[WakeUp, bytes], None]
Remove = Callable[[WakeUp], None]


class TestPolling(QueueSuite):
    @pytest.fixture
    def make(self) -> Callable[[], Queue]:
        return PollingQueue


def test_where_workers_poll_nothing_ever_comes() -> None:
    queue = PollingQueue()
    queue.send(ALL)

    assert queue.receive(ALL, 0.01) == frozenset()
    assert not queue.wakes


class TestMemory(WakingQueueSuite):
    @pytest.fixture
    def place(self) -> str:
        return f"memory://{uuid.uuid4().hex}"

    @pytest.fixture
    def make(self, place: str) -> Callable[[], Queue]:
        return partial(MemoryQueue, place)

    @pytest.fixture
    def put(self, place: str) -> Put:
        return lambda wakeup, body: brokers[place].put(f"vectorflow-{wakeup.label}", body)

    @pytest.fixture
    def remove(self, place: str) -> Remove:
        def remove(wakeup: WakeUp) -> None:
            brokers[place].waiting.pop(f"vectorflow-{wakeup.label}", None)

        return remove


class KombuSuite(WakingQueueSuite):
    """The suite through kombu: a subclass says which broker it is."""

    @pytest.fixture
    def backdoor(self) -> Iterator[Backdoor]:
        raise NotImplementedError

    @pytest.fixture
    def make(self, backdoor: Backdoor) -> Callable[[], Queue]:
        return partial(KombuQueue, backdoor.url, prefix=backdoor.prefix)

    @pytest.fixture
    def put(self, backdoor: Backdoor) -> Put:
        return backdoor.put

    @pytest.fixture
    def remove(self, backdoor: Backdoor) -> Remove:
        return backdoor.remove

    def test_a_message_that_is_packed_is_dropped_as_it_is(
        self, make: Callable[[], Queue], backdoor: Backdoor
    ) -> None:
        """We pack none; unpacked, a few kilobytes could be gigabytes."""
        queue = make()
        queue.check([EXTRACT, EMBED])
        backdoor.put(EXTRACT, packed(EXTRACT), compression="gzip")

        self._drop(queue, 1)

        assert queue.dropped == 1
        queue.close()


def backdoor_to(url: str) -> Iterator[Backdoor]:
    """Give a prefix of its own, whose queues are removed after the test."""
    backdoor = Backdoor(url, f"test-{uuid.uuid4().hex[:12]}")
    yield backdoor
    backdoor.remove_all()


class TestRabbitMq(KombuSuite):
    @pytest.fixture
    def backdoor(self, rabbitmq_url: str) -> Iterator[Backdoor]:
        yield from backdoor_to(rabbitmq_url)


class TestRedis(KombuSuite):
    @pytest.fixture
    def backdoor(self, redis_url: str) -> Iterator[Backdoor]:
        yield from backdoor_to(redis_url)


@pytest.mark.slow
class TestSqs(KombuSuite):
    @pytest.fixture
    def backdoor(self, sqs_url: str) -> Iterator[Backdoor]:
        options: dict[str, object] = {"is_secure": False, "region": "us-east-1"}
        for backdoor in backdoor_to(sqs_url.partition("?")[0]):
            yield replace(backdoor, options=options)

    @pytest.fixture
    def make(self, backdoor: Backdoor, sqs_url: str) -> Callable[[], Queue]:
        return partial(KombuQueue, sqs_url, prefix=backdoor.prefix)


def test_a_full_queue_takes_no_more(redis_url: str) -> None:
    for backdoor in backdoor_to(redis_url):
        backdoor.put(EXTRACT, *[packed(EXTRACT)] * ENOUGH)
        queue = KombuQueue(redis_url, prefix=backdoor.prefix)

        queue.send([EXTRACT])
        queue.close()

        assert backdoor.size(EXTRACT) == ENOUGH


def test_a_message_that_rabbitmq_did_not_confirm_is_not_sent(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kombu_brokers, "STEP_SECONDS", 0.5)
    port = urlsplit(rabbitmq_url).port or 0
    line = Line(port)
    for backdoor in backdoor_to(rabbitmq_url):
        over_it = rabbitmq_url.replace(f":{port}", f":{line.port}")
        queue = KombuQueue(over_it, prefix=backdoor.prefix)
        queue.send([EXTRACT])
        line.fall_silent_at(PUBLISH)

        with pytest.raises(Unavailable):
            queue.send([EXTRACT])

        assert backdoor.size(EXTRACT) == 1
        queue.close()
    line.close()


def test_an_account_that_rabbitmq_does_not_know_is_refused(rabbitmq_url: str) -> None:
    user, _, place = rabbitmq_url.partition("://")[2].partition("@")
    name = user.partition(":")[0]

    for url in (f"amqp://{name}:{PASSWORD}-@{place}", f"amqp://{user}@{place}no-such-host"):
        error = refusal(url, KeyRefused)

        assert "refuses this account" in str(error)
        assert "VECTORFLOW_QUEUE__URL" in error.fix


def test_an_account_that_redis_does_not_know_is_refused(redis_url: str) -> None:
    place = redis_url.partition("@")[2]

    for url in (f"redis://{place}", f"redis://:wrong-{PASSWORD}@{place}"):
        refusal(url, KeyRefused)


@pytest.mark.parametrize("scheme", ["amqp", "redis", "sqs"])
def test_a_broker_that_is_away_is_unavailable(scheme: str) -> None:
    error = refusal(f"{scheme}://me:{PASSWORD}@127.0.0.1:{free_port()}/", Unavailable)

    assert "does not answer" in str(error)


def test_a_queue_that_somebody_made_otherwise_is_no_queue_of_ours(rabbitmq_url: str) -> None:
    for backdoor in backdoor_to(rabbitmq_url):
        backdoor.make_classic(EXTRACT)

        error = refusal(rabbitmq_url, InvalidSetting, prefix=backdoor.prefix)

        assert "VECTORFLOW_QUEUE__PREFIX" in error.fix


def refusal(
    url: str, kind: type[VectorFlowError], *, prefix: str = "vectorflow-test"
) -> VectorFlowError:
    """What is said of a queue that cannot be used; never a password."""
    with pytest.raises(kind) as caught:
        KombuQueue(url, prefix=prefix).check(ALL)
    assert PASSWORD not in f"{caught.value} {caught.value!r}"
    return caught.value


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://", "names no host"),
        ("redis:///0", "names no host"),
        (f"amqp://me:{PASSWORD}@host:many/", "cannot be read"),
        (f"redis://:{PASSWORD}@[::1/0", "cannot be read"),
        (f"amqp://me:{PASSWORD}@host/?heartbeat=5", "unknown parameter 'heartbeat'"),
        ("sqs://?regoin=eu-west-1", "unknown parameter 'regoin'"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_quoting_it(url: str, why: str) -> None:
    with pytest.raises(InvalidSetting, match=why) as caught:
        KombuQueue(url)

    assert PASSWORD not in str(caught.value)
    assert "amqps://USER:PASSWORD@HOST/VHOST" in caught.value.fix


@pytest.mark.parametrize(
    ("url", "extra"),
    [("amqps://host/", "rabbitmq"), ("rediss://host/0", "redis"), ("sqs://", "sqs")],
)
def test_a_library_that_is_not_installed_is_named(
    url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_kombu_brokers, "find_spec", lambda _name: None)

    with pytest.raises(MissingExtra) as caught:
        KombuQueue(url)

    assert caught.value.fix == f"pip install 'vectorflow-engine[{extra}]'"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InvalidClientTokenId", KeyRefused),
        ("SignatureDoesNotMatch", KeyRefused),
        ("AccessDenied", KeyRefused),
        ("InternalError", Unavailable),
        ("RequestThrottled", Unavailable),
    ],
)
def test_what_aws_answers_is_sorted(code: str, kind: type[VectorFlowError]) -> None:
    answer = ClientError({"Error": {"Code": code, "Message": PASSWORD}}, "ListQueues")

    error = translated(answer, "sqs://")

    assert type(error) is kind
    assert PASSWORD not in str(error)


def test_every_wake_up_is_read_as_it_was_written() -> None:
    assert [unpacked(packed(wakeup)) for wakeup in ALL] == list(ALL)
    assert max(len(packed(wakeup)) for wakeup in ALL) < 100


# The suite turns red for a queue that breaks the port.


class Forgets(MemoryQueue):
    def send(self, wakeups: Collection[WakeUp]) -> None:
        pass


class MixesUp(MemoryQueue):
    def _name(self, wakeup: WakeUp) -> str:
        return self._prefix + "-0-extract"


class NeverAcknowledges(MemoryQueue):
    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        heard = super().receive(wakeups, seconds)
        self.send(heard)
        return heard


class KeepsNothing(MemoryQueue):
    def close(self) -> None:
        self._broker.waiting.clear()


class DoesNotWait(MemoryQueue):
    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        return super().receive(wakeups, 0.0)


class StaysClosed(MemoryQueue):
    is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def send(self, wakeups: Collection[WakeUp]) -> None:
        if self.is_closed:
            raise Unavailable("closed")
        super().send(wakeups)


class ChokesOnGarbage(MemoryQueue):
    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        before = self.dropped
        heard = super().receive(wakeups, seconds)
        if self.dropped > before:
            raise ValueError("what is this?")
        return heard


class CountsNothing(MemoryQueue):
    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        heard = super().receive(wakeups, seconds)
        self.dropped = 0
        return heard


class BelievesEveryVersion(MemoryQueue):
    def receive(self, wakeups: Collection[WakeUp], seconds: float) -> frozenset[WakeUp]:
        before = self.dropped
        heard = super().receive(wakeups, seconds)
        return heard | ({EXTRACT} if self.dropped > before else set())


class CannotFindItsQueueAgain(MemoryQueue):
    def __init__(self, url: str, *, prefix: str = "vectorflow") -> None:
        super().__init__(url, prefix=prefix)
        self._first = self._broker.waiting[self._name(EXTRACT)]

    def send(self, wakeups: Collection[WakeUp]) -> None:
        if EXTRACT in wakeups:
            self._first.append(packed(EXTRACT))
        super().send([one for one in wakeups if one == EMBED])


class SaysThatItIsNone(MemoryQueue):
    wakes = False


class WantsListeners(MemoryQueue):
    def send(self, wakeups: Collection[WakeUp]) -> None:
        if not self._broker.waiting:
            raise Unavailable("nobody is there")
        super().send(wakeups)


class CannotBeChecked(MemoryQueue):
    def check(self, wakeups: Collection[WakeUp]) -> None:
        raise Unavailable("later")


BROKEN = {
    BelievesEveryVersion: "test_a_message_of_another_version_is_dropped",
    CannotBeChecked: "test_a_queue_that_can_be_used_is_checked_without_complaint",
    CannotFindItsQueueAgain: "test_a_removed_queue_is_made_again_for_who_sends_and_who_listens",
    ChokesOnGarbage: "test_messages_that_are_no_wake_ups_are_dropped_and_counted",
    CountsNothing: "test_messages_that_are_no_wake_ups_are_dropped_and_counted",
    DoesNotWait: "test_where_nothing_was_sent_nothing_comes_in_all_the_time",
    Forgets: "test_what_one_sends_another_hears",
    KeepsNothing: "test_what_was_sent_waits_for_who_comes_later",
    MixesUp: "test_who_listens_for_one_kind_hears_of_no_other",
    NeverAcknowledges: "test_what_was_heard_is_not_heard_again",
    SaysThatItIsNone: "test_it_says_that_it_wakes",
    StaysClosed: "test_a_queue_may_be_closed_at_any_time_and_used_again",
    WantsListeners: "test_sending_needs_nobody_who_listens",
}


class Impatient(WakingQueueSuite):
    patience = 0.1
    short = 0.01


async def failures_of(kind: type[MemoryQueue]) -> set[str]:
    """Run the suite, and name the tests that fail."""

    def fixtures() -> dict[str, object]:
        place = f"memory://{uuid.uuid4().hex}"
        waiting = brokers[place].waiting
        return {
            "make": partial(kind, place),
            "put": lambda wakeup, body: brokers[place].put(f"vectorflow-{wakeup.label}", body),
            "remove": lambda wakeup: waiting.pop(f"vectorflow-{wakeup.label}", None),
        }

    return await failures(Impatient, fixtures)


async def test_a_queue_that_keeps_the_port_passes() -> None:
    assert await failures_of(MemoryQueue) == set()


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_a_broken_queue_is_caught(kind: type[MemoryQueue]) -> None:
    assert BROKEN[kind] in await failures_of(kind)
