"""States of jobs, versions and batches. The ledger makes the transitions."""

from enum import IntEnum, StrEnum


class JobState(StrEnum):
    """`running` until every document has an outcome and the clean-up is done."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Ended states never change, except by a retry."""
        return self not in {JobState.RUNNING, JobState.PAUSED}


class VersionState(StrEnum):
    """`waiting` and `indexing` are open; `live` is what a search serves.

    A failed version is `retried` once a newer one was made of it, which counts in its place, and
    `discarded` once somebody has given it up.
    """

    WAITING = "waiting"
    INDEXING = "indexing"
    LIVE = "live"
    RETIRED = "retired"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    DISCARDED = "discarded"


class BatchState(StrEnum):
    """`leased` goes back to `ready` when its lease runs out.

    `paused` waits for its job, or for a system that is away.
    """

    READY = "ready"
    PAUSED = "paused"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


OPEN_BATCHES = (BatchState.READY, BatchState.PAUSED, BatchState.LEASED)
"""States of batches that are still to be worked on."""


class BatchKind(StrEnum):
    """What a worker does with a batch."""

    EXTRACT = "extract"
    EMBED = "embed"
    RETIRE = "retire"


class Lane(IntEnum):
    """What batches wait in; those of a lower number are handed out first, but not always."""

    INTERACTIVE = 0
    BULK = 1


LANES = tuple(Lane)


class Outcome(StrEnum):
    """How one try of a batch ended."""

    OK = "ok"
    ERROR = "error"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    RELEASED = "released"
    LOST = "lost"


def ended_state(*, total: int, failed: int) -> JobState:
    """The state of a job whose documents all have an outcome; `total` counts unchanged ones too."""
    if failed == 0:
        return JobState.COMPLETED
    return JobState.FAILED if failed == total else JobState.PARTIAL
