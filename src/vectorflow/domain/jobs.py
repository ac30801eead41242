"""States of jobs, versions and batches. The ledger makes the transitions."""

from enum import StrEnum


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
    """`waiting` and `indexing` are open; `live` is what a search serves."""

    WAITING = "waiting"
    INDEXING = "indexing"
    LIVE = "live"
    RETIRED = "retired"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


class BatchState(StrEnum):
    """`leased` goes back to `ready` when its lease runs out."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class BatchKind(StrEnum):
    """What a worker does with a batch."""

    EXTRACT = "extract"
    EMBED = "embed"
    RETIRE = "retire"


class Outcome(StrEnum):
    """How one try of a batch ended."""

    OK = "ok"
    ERROR = "error"
    THROTTLED = "throttled"
    RELEASED = "released"
    LOST = "lost"


def ended_state(*, total: int, failed: int) -> JobState:
    """The state of a job whose documents all have an outcome; `total` counts unchanged ones too."""
    if failed == 0:
        return JobState.COMPLETED
    return JobState.FAILED if failed == total else JobState.PARTIAL
