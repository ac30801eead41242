"""What the API is given: it reads no settings and opens nothing itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from vectorflow.api.desk import Desk
from vectorflow.domain.access import Access
from vectorflow.domain.credentials import Credentials
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger.database import Database
from vectorflow.ports.blob_store import BlobStore
from vectorflow.ports.hooks import Hooks
from vectorflow.ports.secret_store import SecretStore
from vectorflow.ports.vector_store import VectorStore

AccessOf = Callable[[str], Awaitable[Access | None]]
"""Key -> what it may do; None for a key that lets nobody in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreNamed:
    """A store as a client names it."""

    plugin: str
    environment: str
    """URL, host or region; empty where the client leaves it to the server."""
    index_name: str
    collection: str
    key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An index of a store, as pipelines name it."""

    store: str
    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks of the pipeline; None leaves it to the server."""

    place: Place
    embedder: str | None = None
    chunker: str | None = None
    size: int | None = None
    overlap: int | None = None
    lines: int | None = None
    validation: str | None = None
    """Digest of the address of a validation hook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost."""

    upload_bytes: int
    """Of one file sent alone."""
    batch_bytes: int
    """Of a body with several files."""
    free_floor_bytes: int
    """Room that every upload leaves on the disk of the blob store."""
    files: int = 1000
    """Of a body with several files."""
    fields: int = 32
    """Of a form, files not counted."""
    field_bytes: int = 1 << 16
    """Of one form field, and of a JSON body."""
    idle_seconds: float = 60.0
    """How long a client may send nothing in the middle of a body."""
    answer_seconds: float = 5.0
    """How long an upload waits for its extraction, to count its batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPage:
    """What monitoring systems are told."""

    text: Callable[[], Awaitable[bytes]]
    content_type: str
    open: bool
    """It needs no key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The parts behind the routes."""

    database: Database
    blobs: BlobStore
    access_of: AccessOf
    place: Callable[[str, StoreNamed], Awaitable[Place]]
    """Tenant and store -> where that is; raises InvalidInput, NotFound or KeyRefused."""
    pipeline: Callable[[Wanted], Pipeline]
    """Raises InvalidInput for what the server cannot do; quick, for it runs on the event loop."""
    open_index: Callable[[str, Pipeline, Credentials], Awaitable[int]]
    """Tenant, pipeline and what came with the request -> row of the index in the ledger."""
    open_store: Callable[[str, str, Credentials], Awaitable[VectorStore]]
    """Tenant, locator of a store and what came with the request -> the store, to read from."""
    check_embedder: Callable[[str, Pipeline, Credentials], Awaitable[None]]
    """Raises KeyRefused where a provider would be called without a key."""
    detect: Callable[[str, bytes], str]
    """File name and first bytes -> extractor; raises UnsupportedFormat."""
    hooks: Callable[[], Awaitable[Hooks]]
    check_url: Callable[[str, str], None]
    """Name of a field and the address in it; raises ForbiddenAddress for what may not be called."""
    secrets: SecretStore
    zombie_seconds: float
    """How long a worker may still write after its lease was lost."""
    embedder: str
    """`plugin:model` of this server."""
    local_embedder: str
    """`plugin:model` that runs on this machine."""
    limits: Limits
    desk: Desk
    """For workers over HTTP."""
    metrics: MetricsPage
