"""What happens to a batch after a failed try: a pure decision."""

import random
from dataclasses import dataclass
from enum import StrEnum

from vectorflow.errors import (
    DocumentFailed,
    FingerprintMismatch,
    ForeignIndex,
    IndexLost,
    IndexRefused,
    InvalidSetting,
    KeyRefused,
    MissingExtra,
    NotFound,
    NotServed,
    OutOfSpace,
    Throttled,
    TooMuchAtOnce,
    Transient,
    Unavailable,
    UnknownPlugin,
    Unsealable,
    VectorFlowError,
)

MAX_ATTEMPTS = 8
"""Tries of a batch that fail by themselves, before its documents are tried one by one, and of one
before it becomes a dead letter."""

BASE_DELAY = 0.5
"""Seconds."""

MAX_DELAY = 60.0
"""Seconds."""

LONGEST_DELAY = 3600.0
"""Seconds between two tries of clean-up that fails each time."""

LONGEST_WAIT = 600.0
"""Seconds; who asks us to stay away for longer is asked again before."""

SUSPECT_AFTER = 3
"""Leases of a batch that were lost, before its documents run alone."""

LOST_ALONE = 5
"""Leases of a document that runs alone that may be lost after that; then it is a dead letter."""


class FailureClass(StrEnum):
    """Who can do something about a failure."""

    RETRY = "retry"
    """Time."""
    THROTTLE = "throttle"
    """Time, and the try does not count."""
    OUTAGE = "outage"
    """Time: a system that was called is away or full, unless it serves others meanwhile."""
    SPLIT = "split"
    """We, with less at once."""
    CONFIG = "config"
    """An operator: no document of the job is to blame, and all would fail."""
    POISON = "poison"
    """Whoever owns the document."""
    FATAL = "fatal"
    """Nobody knows."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Hand the batch out again after `delay` seconds; a refunded try does not count."""

    delay: float
    refund: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep the batch until the system answers again; the try does not count."""

    otherwise: "Retry | Split"
    """Where the system serves others: then it is the batch that fails."""


@dataclass(frozen=True, slots=True)
class Split:
    """Hand its documents out again, each in a batch of its own; one alone is given up."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Keep the batch, and let the whole job wait until somebody resumes it."""

    reason: str = ""
    """Where the code of the error does not say it."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Dead letters for the documents of the batch."""


Decision = Retry | Wait | Split | Pause | GiveUp

_MENDABLE = (KeyRefused, NotServed, MissingExtra, UnknownPlugin, InvalidSetting, Unsealable)


def class_of(error: VectorFlowError) -> FailureClass:
    """Tell who can do something about an error."""
    if isinstance(error, Throttled):
        return FailureClass.THROTTLE
    if isinstance(error, Unavailable | OutOfSpace) and error.system:
        return FailureClass.OUTAGE
    if isinstance(error, Transient):
        return FailureClass.RETRY
    if isinstance(error, TooMuchAtOnce):
        return FailureClass.SPLIT
    if isinstance(error, _MENDABLE) or _is_mendable_index(error) or _is_removed(error):
        return FailureClass.CONFIG
    return FailureClass.POISON if isinstance(error, DocumentFailed) else FailureClass.FATAL


def after_failure(
    error: VectorFlowError, attempt: int, chance: random.Random, longest: float = MAX_DELAY
) -> Decision:
    """Decide; `attempt` counts from 1 and includes the try that failed.

    `longest` are the seconds between two tries at most, where the other side asks for no more.
    Full jitter. Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """
    match class_of(error):
        case FailureClass.CONFIG:
            return Pause()
        case FailureClass.SPLIT:
            return Split()
        case FailureClass.THROTTLE:
            return Retry(_delay(error, attempt, chance, longest), refund=True)
        case FailureClass.OUTAGE:
            return Wait(otherwise=_again(error, attempt, chance, longest))
        case FailureClass.RETRY:
            return _again(error, attempt, chance, longest)
        case _:
            return GiveUp()


def delay_of_clean_up(tries: int) -> float:
    """Give the seconds until clean-up that failed so often is tried again, as it always is."""
    return min(LONGEST_DELAY, MAX_DELAY * 2.0 ** min(tries - 1, 10))


def is_suspect(lost: int, *, cut: bool) -> bool:
    """Whether a batch may be what workers die of; `cut` says that it was cut from one that was.

    `lost` are the leases that were lost since it last got on.
    """
    return cut or lost >= SUSPECT_AFTER


def is_condemned(lost: int, *, cut: bool) -> bool:
    """Whether workers died too often over the one document of a batch."""
    return lost >= LOST_ALONE + (0 if cut else SUSPECT_AFTER)


def _again(
    error: VectorFlowError, attempt: int, chance: random.Random, longest: float
) -> Retry | Split:
    if attempt >= MAX_ATTEMPTS:
        return Split()
    return Retry(_delay(error, attempt, chance, longest), refund=False)


def _delay(error: VectorFlowError, attempt: int, chance: random.Random, longest: float) -> float:
    """Wait as long as the other side asks for, and all at different times where it does not."""
    asked = error.retry_after if isinstance(error, Transient) else None
    if asked is not None:
        return min(asked, LONGEST_WAIT)
    return chance.uniform(0, min(longest, BASE_DELAY * 2 ** min(attempt, 10)))


def _is_mendable_index(error: VectorFlowError) -> bool:
    """Whether the index can be made as it should be; one of another model or ledger stays so."""
    stays = isinstance(error, FingerprintMismatch | ForeignIndex | IndexLost)
    return isinstance(error, IndexRefused) and not stays


def _is_removed(error: VectorFlowError) -> bool:
    """Whether what should hold the records is not where it was: its owner can make it again."""
    return isinstance(error, NotFound) and bool(error.system)
