"""What the API is given: it reads no settings and opens nothing itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vectorflow.domain.access import Access
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger.database import Database
from vectorflow.ports.blob_store import BlobStore

AccessOf = Callable[[str], Awaitable[Access | None]]
"""Key -> what it may do; None for a key that lets nobody in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks of the pipeline; None leaves it to the server."""

    index: str
    chunker: str | None = None
    size: int | None = None
    overlap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost."""

    upload_bytes: int
    """Of one file."""
    free_floor_bytes: int
    """Room that every upload leaves on the disk of the blob store."""
    parts: int = 32
    """Of a form, the file included."""
    field_bytes: int = 1 << 16
    """Of one form field, and of a JSON body."""
    idle_seconds: float = 60.0
    """How long a client may send nothing in the middle of a body."""
    answer_seconds: float = 5.0
    """How long an upload waits for its extraction, to count its batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The parts behind the routes."""

    database: Database
    blobs: BlobStore
    tenant_of: AccessOf
    pipeline: Callable[[Wanted], Pipeline]
    """Raises InvalidInput for what the server cannot do; quick, for it runs on the event loop."""
    open_index: Callable[[str, Pipeline], Awaitable[int]]
    """Tenant and pipeline -> row of the index in the ledger."""
    detect: Callable[[str], str]
    """File name -> extractor."""
    is_store: Callable[[str], bool]
    """Whether a client's name of a store means the one of this server."""
    store: str
    """Plugin of the store of this server."""
    embedder: str
    """`plugin:model` of this server."""
    limits: Limits
