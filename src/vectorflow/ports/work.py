"""The port `work`: all that a worker needs. Implemented by the ledger, and over HTTP."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials
from vectorflow.domain.documents import BlobRange
from vectorflow.domain.jobs import LANES, BatchKind, Lane
from vectorflow.domain.manifests import Part
from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import VectorFlowError
from vectorflow.ports.blob_store import BlobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedIndex:
    """The index that a batch writes into."""

    id: int
    ledger: str
    """Identity of the ledger that owns it."""
    incarnation: str
    written: bool
    """Records of this incarnation were stored: a store without the index has lost it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedJob:
    """The job that a batch belongs to."""

    id: int
    tenant: str
    document_id: str
    """What a webhook is told; empty where the client gave none."""
    credentials: Credentials = field(default=NO_CREDENTIALS)
    """What the worker reaches others with; None in them means its own settings."""
    unsealed: bool = True
    """False if credentials could not be opened: the batch cannot be worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedVersion:
    """One document version of a batch."""

    id: int
    document: int
    external_id: str
    number: int
    """Counted from 1 within its document."""
    extractor: str
    source: BlobRange | None
    """None for a deletion."""
    metadata: Mapping[str, object]
    parts: tuple[Part, ...]
    """Parts already committed, in order; of an embed batch the parts to store."""
    base: tuple[Part, ...]
    """Parts of the version to plan against; of a retire batch the parts that stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A batch that is ours until `seconds` after it was claimed or renewed."""

    batch: int
    epoch: int
    kind: BatchKind
    seconds: float
    attempt: int
    """Counted from 1, this one included."""
    job: LeasedJob
    pipeline: Pipeline
    index: LeasedIndex
    versions: tuple[LeasedVersion, ...]
    vectors: tuple[str, ...]
    """Vector files already written for this batch."""
    lane: Lane = Lane.BULK
    alone: bool = False
    """Workers died while they held it: until it has ended, claim no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAttached:
    """A document found inside of another, its bytes durable in the blob store."""

    name: str
    """As the outer document has it, cleaned."""
    raw_hash: str
    extractor: str
    """Empty where no extractor reads it."""
    source: BlobRange | None
    """None where no extractor reads it."""
    reason: str = ""
    """Why none does."""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPart:
    """A part to commit: planned, its manifest rows durable in the blob store."""

    version: int
    """Id of the version."""
    part: Part
    new_rows: int
    """Rows whose records are not in the store yet."""
    last: bool
    """The document ends with it."""
    attached: tuple[NewAttached, ...] = ()
    """With the last part: all that is attached to the document now. What was attached to the
    version before and is not here is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a try cost."""

    chunks_embedded: int = 0
    embedding_calls: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of a batch: what it made, and which of its documents cannot be embedded."""

    lease: Lease
    parts: tuple[NewPart, ...] = ()
    failures: Mapping[int, VectorFlowError] = field(default_factory=dict[int, VectorFlowError])
    """Permanent errors by version id; the others went well."""
    usage: Usage = field(default_factory=Usage)


class Work(Protocol):
    """Batches out, results in; fenced by the epoch, so that a stale lease changes nothing."""

    @abstractmethod
    async def claim(
        self,
        kinds: Sequence[BatchKind],
        capabilities: Mapping[str, int],
        limit: int,
        lanes: Sequence[Lane] = LANES,
    ) -> Sequence[Lease]:
        """Lease ready batches in the ledger's order; none is an empty answer, at once.

        Args:
            kinds: Only these.
            capabilities: Plugin revisions of this worker, `kind/name` -> revision; batches that
                require others are left to workers that have them.
            limit: Batches at most.
            lanes: Only of these.
        """
        ...

    @abstractmethod
    async def renew(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Push the ends of leases out; those missing in the answer are lost or cancelled."""
        ...

    @abstractmethod
    async def checkpoint(
        self, lease: Lease, *, parts: Sequence[NewPart] = (), vectors: str | None = None
    ) -> None:
        """Make progress durable in one transaction: parts of a manifest, or a vector file.

        Raises:
            LeaseLost: Nothing was written.
        """
        ...

    @abstractmethod
    async def finish(self, results: Sequence[Finished]) -> Sequence[bool]:
        """End batches in one transaction; False for each whose lease was stale."""
        ...

    @abstractmethod
    async def release(self, lease: Lease, error: VectorFlowError | None) -> None:
        """Give a batch back, for a later try or, after too many, as dead letters.

        None is an orderly shutdown: the attempt is refunded and the batch is ready at once.
        IndexLost starts the whole index anew. A stale lease hands nothing back; what may have been
        stored under it of versions that were replaced meanwhile is deleted, as after `finish`.
        """
        ...

    @abstractmethod
    def blobs(self, lease: Lease) -> BlobStore:
        """The blobs of that lease's job."""
        ...
