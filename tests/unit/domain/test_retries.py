import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.domain.retries import (
    BASE_DELAY,
    MAX_ATTEMPTS,
    MAX_DELAY,
    GiveUp,
    Retry,
    after_failure,
)
from vectorflow.errors import (
    BadChunk,
    LeaseLost,
    OutOfSpace,
    Permanent,
    Throttled,
    Transient,
    Unavailable,
    VectorFlowError,
)

attempts = st.integers(1, 100)
chances = st.integers().map(random.Random)
transient = st.sampled_from([Transient, Throttled, Unavailable, LeaseLost, OutOfSpace])
waits = st.none() | st.floats(0, 10_000)


@given(attempts, chances)
@pytest.mark.parametrize(
    "error", [Permanent("no"), BadChunk("no", position=1), VectorFlowError("unforeseen")]
)
def test_what_would_fail_again_is_given_up_at_once(
    error: VectorFlowError, attempt: int, chance: random.Random
) -> None:
    assert after_failure(error, attempt, chance) == GiveUp()


@given(transient, attempts, chances)
def test_only_too_many_tries_that_count_are_given_up(
    kind: type[Transient], attempt: int, chance: random.Random
) -> None:
    decision = after_failure(kind("down"), attempt, chance)

    gave_up = attempt >= MAX_ATTEMPTS and kind is not Throttled
    assert isinstance(decision, GiveUp if gave_up else Retry)


@given(transient, st.integers(1, MAX_ATTEMPTS - 1), chances)
def test_only_being_throttled_is_refunded(
    kind: type[Transient], attempt: int, chance: random.Random
) -> None:
    decision = after_failure(kind("down"), attempt, chance)

    assert isinstance(decision, Retry)
    assert decision.refund == (kind is Throttled)


@given(attempts, chances, waits)
def test_a_wait_is_never_negative_nor_longer_than_the_longest(
    attempt: int, chance: random.Random, wait: float | None
) -> None:
    decision = after_failure(Throttled("slow down", retry_after=wait), attempt, chance)

    assert isinstance(decision, Retry)
    assert 0 <= decision.delay <= MAX_DELAY


@given(st.integers(1, MAX_ATTEMPTS - 1), chances, st.floats(0, MAX_DELAY))
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
