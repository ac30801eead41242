import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.retries import (
    BASE_DELAY,
    LONGEST_WAIT,
    LOST_ALONE,
    MAX_ATTEMPTS,
    MAX_DELAY,
    SUSPECT_AFTER,
    FailureClass,
    GiveUp,
    Pause,
    Retry,
    Split,
    Wait,
    after_failure,
    class_of,
    is_condemned,
    is_suspect,
)
from vectorflow.errors import (
    BadChunk,
    CallRefused,
    DimensionMismatch,
    EncryptedFile,
    FingerprintMismatch,
    ForeignIndex,
    HookRefused,
    IndexRefused,
    InvalidSetting,
    KeyRefused,
    LeaseLost,
    MissingExtra,
    NotFound,
    NotServed,
    OutOfSpace,
    Permanent,
    Throttled,
    TooMuchAtOnce,
    Transient,
    Unavailable,
    UnknownPlugin,
    Unsealable,
    VectorFlowError,
    WorkersDied,
)

attempts = st.integers(1, 100)
chances = st.integers().map(random.Random)
transient = st.sampled_from([Transient, Throttled, Unavailable, LeaseLost, OutOfSpace])
waits = st.none() | st.floats(0, 10_000)


def of(system: str, error: VectorFlowError) -> VectorFlowError:
    """Say which system an error came from."""
    error.system = system
    return error


CLASSES: dict[FailureClass, list[VectorFlowError]] = {
    FailureClass.RETRY: [Unavailable("down"), LeaseLost("gone"), OutOfSpace("full")],
    FailureClass.THROTTLE: [Throttled("slow down")],
    FailureClass.OUTAGE: [of("store", Unavailable("down")), of("store", OutOfSpace("full"))],
    FailureClass.SPLIT: [TooMuchAtOnce("too much")],
    FailureClass.CONFIG: [
        KeyRefused("no"),
        NotServed("no such model"),
        MissingExtra("store", "qdrant", "qdrant"),
        UnknownPlugin("store", "qdrant", []),
        InvalidSetting("no"),
        Unsealable("no"),
        of("store", NotFound("no such index")),
        IndexRefused("ranks by another distance"),
        DimensionMismatch("docs", held=3, got=4),
    ],
    FailureClass.POISON: [BadChunk("no", position=1), EncryptedFile("no"), WorkersDied("no")],
    FailureClass.FATAL: [
        Permanent("no"),
        CallRefused("no"),
        HookRefused("no"),
        NotFound("of no system"),
        ForeignIndex("docs", owner="other"),
        FingerprintMismatch("docs", held="a", got="b"),
        VectorFlowError("unforeseen"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "error"),
    [(kind, error) for kind, errors in CLASSES.items() for error in errors],
    ids=lambda value: value if isinstance(value, str) else value.code,
)
def test_an_error_says_who_can_do_something_about_it(
    kind: FailureClass, error: VectorFlowError
) -> None:
    assert class_of(error) is kind


@given(attempts, chances, st.sampled_from(CLASSES[FailureClass.CONFIG]))
def test_what_an_operator_can_mend_pauses_and_never_gives_up(
    attempt: int, chance: random.Random, error: VectorFlowError
) -> None:
    assert after_failure(error, attempt, chance) == Pause()


@given(attempts, chances)
def test_what_is_too_much_at_once_is_split(attempt: int, chance: random.Random) -> None:
    assert after_failure(TooMuchAtOnce("too much"), attempt, chance) == Split()


def test_a_batch_is_suspected_before_it_is_condemned() -> None:
    suspected = [lost for lost in range(20) if is_suspect(lost, cut=False)]
    condemned = [lost for lost in range(20) if is_condemned(lost, cut=False)]

    assert suspected[0] == SUSPECT_AFTER
    assert condemned[0] == SUSPECT_AFTER + LOST_ALONE
    assert is_suspect(0, cut=True)
    assert not is_condemned(LOST_ALONE - 1, cut=True)
    assert is_condemned(LOST_ALONE, cut=True)


@given(attempts, chances)
@pytest.mark.parametrize(
    "error", CLASSES[FailureClass.POISON] + CLASSES[FailureClass.FATAL], ids=lambda one: one.code
)
def test_what_would_fail_again_is_given_up_at_once(
    error: VectorFlowError, attempt: int, chance: random.Random
) -> None:
    assert after_failure(error, attempt, chance) == GiveUp()


@given(transient, attempts, chances)
def test_only_after_too_many_tries_that_count_each_document_is_on_its_own(
    kind: type[Transient], attempt: int, chance: random.Random
) -> None:
    decision = after_failure(kind("down"), attempt, chance)

    gave_up = attempt >= MAX_ATTEMPTS and kind is not Throttled
    assert isinstance(decision, Split if gave_up else Retry)


@given(transient, st.integers(1, MAX_ATTEMPTS - 1), chances)
def test_only_being_throttled_is_refunded(
    kind: type[Transient], attempt: int, chance: random.Random
) -> None:
    decision = after_failure(kind("down"), attempt, chance)

    assert isinstance(decision, Retry)
    assert decision.refund == (kind is Throttled)


@given(attempts, chances)
def test_a_batch_waits_for_a_system_that_is_away_unless_only_the_batch_fails(
    attempt: int, chance: random.Random
) -> None:
    decision = after_failure(of("store", Unavailable("down")), attempt, chance)

    assert isinstance(decision, Wait)
    assert isinstance(decision.otherwise, Split if attempt >= MAX_ATTEMPTS else Retry)


@given(attempts, chances, waits)
def test_a_wait_is_never_negative_nor_longer_than_the_longest(
    attempt: int, chance: random.Random, wait: float | None
) -> None:
    decision = after_failure(Throttled("slow down", retry_after=wait), attempt, chance)

    assert isinstance(decision, Retry)
    assert 0 <= decision.delay <= (MAX_DELAY if wait is None else LONGEST_WAIT)


@given(st.integers(1, MAX_ATTEMPTS - 1), chances, st.floats(0, LONGEST_WAIT))
def test_the_wait_that_the_other_side_asks_for_is_kept(
    attempt: int, chance: random.Random, wait: float
) -> None:
    decision = after_failure(Unavailable("down", retry_after=wait), attempt, chance)

    assert decision == Retry(delay=wait, refund=False)


@given(st.integers(1, MAX_ATTEMPTS - 1))
def test_waits_are_spread_over_a_range_that_doubles(attempt: int) -> None:
    chance = random.Random(attempt)  # noqa: S311 - jitter, not a secret
    decisions = [after_failure(Unavailable("down"), attempt, chance) for _ in range(300)]
    delays = [decision.delay for decision in decisions if isinstance(decision, Retry)]

    ceiling = min(MAX_DELAY, BASE_DELAY * 2**attempt)
    assert len(delays) == 300
    assert max(delays) <= ceiling
    assert max(delays) > 0.8 * ceiling
    assert min(delays) < 0.2 * ceiling
