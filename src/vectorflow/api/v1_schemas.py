"""The JSON of jobs and failures below `/v1`: requests, answers and problems."""

from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from vectorflow.api.schemas import MAX_JOB_ID
from vectorflow.domain.jobs import JobState
from vectorflow.ledger.outcome_reads import CauseView, DocumentView
from vectorflow.ledger.reads import JobView

QUEUED = "queued"
"""A job that runs, of which nothing was tried yet."""

StateName = Literal["queued", "running", "paused", "completed", "partial", "failed", "cancelled"]
DocumentStatus = Literal[
    "waiting", "indexing", "live", "retired", "failed", "superseded", "cancelled", "discarded"
]

JobId = Annotated[int, Field(strict=True, ge=1, le=MAX_JOB_ID)]
Cause = Annotated[str, Field(min_length=1, max_length=64)]
Canary = Annotated[int, Field(strict=True, ge=1, le=1 << 31)]


class Pause(BaseModel):
    """Why a job waits, and what to do about it."""

    reason: str
    """`operator`, or the code of an error."""
    stage: str
    message: str
    fix: str


class Away(BaseModel):
    """A store, provider or webhook that a job cannot do without, and that does not answer."""

    system: str
    message: str
    since: float
    next_try_at: float | None
    """None while a try is under way."""


class JobError(BaseModel):
    """Why a job is not complete, though no document is to blame."""

    model_config = ConfigDict(extra="ignore")

    code: str
    message: str
    fix: str


class Job(BaseModel):
    """A job as it stands; times are seconds since 1970."""

    id: int
    state: StateName
    index: str
    scope: str
    docs_total: int | None
    """None while documents are still being listed."""
    docs_done: int
    docs_failed: int
    documents_new: int
    documents_changed: int
    documents_unchanged: int
    documents_gone: int
    records_new: int
    records_old: int
    chunks_embedded: int
    embedding_calls: int
    tokens: int
    paused: Pause | None
    waiting: Away | None
    error: JobError | None
    created_at: float
    ended_at: float | None

    @classmethod
    def of(cls, view: JobView) -> Self:
        """Show a job of the ledger."""
        names = cls.model_fields.keys() - {"state", "waiting"}
        shown = {name: getattr(view, name) for name in names} | {"state": state_name(view)}
        return cls.model_validate(shown | {"waiting": view.waiting and asdict(view.waiting)})


class JobPage(BaseModel):
    """Jobs, the newest first."""

    jobs: list[Job]
    next_cursor: str | None
    """None on the last page."""


class At(BaseModel):
    """The place in a document that is to blame."""

    chunk: int | None
    """Counted from 0."""


class Failure(BaseModel):
    """Why a document was given up."""

    code: str
    stage: str
    retryable: bool
    message: str
    fix: str
    attempts: int
    at: At


class Document(BaseModel):
    """What became of a document in a job."""

    job: int
    external_id: str
    uri: str
    status: DocumentStatus
    attempted_version: int
    served_version: int | None
    """The version that searches serve; None if there is none."""
    failure: Failure | None

    @classmethod
    def of(cls, view: DocumentView) -> Self:
        """Show a version of a document of the ledger."""
        letter = view.failure and dict(view.failure) | {"at": {"chunk": view.failure.get("chunk")}}
        return cls.model_validate(
            {
                "job": view.job,
                "external_id": view.external_id,
                "uri": view.uri,
                "status": view.state.value,
                "attempted_version": view.attempted_version,
                "served_version": view.served_version,
                "failure": letter,
            }
        )


class DocumentPage(BaseModel):
    """Documents of a job, in the order in which they were accepted."""

    documents: list[Document]
    next_cursor: str | None
    """None on the last page."""


class FailureCause(BaseModel):
    """Failures that the same fix mends."""

    code: str
    stage: str
    fix: str
    documents: int
    jobs: int
    newest: Document

    @classmethod
    def of(cls, view: CauseView) -> Self:
        """Show a cause of the ledger."""
        names = cls.model_fields.keys() - {"newest"}
        values: dict[str, Any] = {name: getattr(view, name) for name in names}
        return cls(newest=Document.of(view.newest), **values)


class Causes(BaseModel):
    """Failures by cause, the most frequent first."""

    causes: list[FailureCause]


class _Asked(BaseModel):
    """A word that is not known is refused: one mistyped would ask for more than was meant."""

    model_config = ConfigDict(extra="forbid")


class Nothing(_Asked):
    """A body in which nothing may stand."""


class RetryJob(_Asked):
    """Which failures of a job to try again, and hooks whose addresses were erased with its end."""

    cause: Cause | None = None
    canary: Canary | None = None
    webhook_url: str | None = None
    validation_url: str | None = None


class RetryFailures(_Asked):
    """Which failures to try again; none of these means all."""

    job: JobId | None = None
    cause: Cause | None = None
    canary: Canary | None = None


class DiscardFailures(_Asked):
    """Which failures to give up; all only where that is said."""

    job: JobId | None = None
    cause: Cause | None = None
    all: bool = False


class Retrying(BaseModel):
    """What is tried again."""

    documents: int
    jobs: list[int]
    """Those that run again."""


class Discarded(BaseModel):
    """How many failures were given up."""

    discarded: int


class Problem(BaseModel):
    """An answer that is no success, after RFC 9457."""

    title: str
    status: int
    detail: str
    code: str
    fix: str
    retryable: bool


def state_name(view: JobView) -> str:
    """Name the state of a job."""
    return QUEUED if view.state is JobState.RUNNING and not view.started else view.state.value
