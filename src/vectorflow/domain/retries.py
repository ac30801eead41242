"""What happens to a batch after a failed try: a pure decision."""

import random
from dataclasses import dataclass

from vectorflow.errors import Throttled, Transient, VectorFlowError

MAX_ATTEMPTS = 8
"""Tries of a batch that fail by themselves, before its documents become dead letters."""

BASE_DELAY = 0.5
"""Seconds."""

MAX_DELAY = 60.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Hand the batch out again after `delay` seconds; a refunded try does not count."""

    delay: float
    refund: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Dead letters for the documents of the batch."""


def after_failure(error: VectorFlowError, attempt: int, chance: random.Random) -> Retry | GiveUp:
    """Decide; `attempt` counts from 1 and includes the try that failed.

    Full jitter. Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """
    if not isinstance(error, Transient):
        return GiveUp()
    throttled = isinstance(error, Throttled)
    if attempt >= MAX_ATTEMPTS and not throttled:
        return GiveUp()
    ceiling = min(MAX_DELAY, BASE_DELAY * 2 ** min(attempt, 10))
    delay = error.retry_after if error.retry_after is not None else chance.uniform(0, ceiling)
    return Retry(delay=min(delay, MAX_DELAY), refund=throttled)
