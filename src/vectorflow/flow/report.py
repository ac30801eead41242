"""What goes into an `embed` and what comes out of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike

import pyarrow as pa

from vectorflow.domain.jobs import JobState
from vectorflow.domain.records import Matrix, vector_column
from vectorflow.ledger.reads import FailureView, JobProgress, JobView
from vectorflow.service.submit import Scan

Input = (
    str
    | PathLike[str]
    | bytes
    | Mapping[str, object]
    | Iterable["str | PathLike[str] | Mapping[str, object]"]
)
"""A path or several, bytes, one `{"id", "text"}` mapping, or an iterable of such mappings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an `embed` is."""

    scan: Scan | None = None
    """While documents are listed and read."""
    job: JobView | None = None
    """From then on."""
    work: JobProgress | None = None
    """How far the documents of the job are cut; up to a second old."""
    embedded: int = 0
    """Chunks embedded by this process so far, those of earlier jobs too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedOptions:
    """How to embed, beside the settings."""

    index: str | None = None
    scope: str | None = None
    """Name of what a directory's listing is complete for; by default the directory's own."""
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    """Kept on every record."""
    allow_delete: bool = False
    """Delete even if nothing is left, or less than half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an `embed` did."""

    job_id: int
    status: JobState
    index: str
    documents: int
    """Documents the source listed."""
    records: int
    """Records of the index now."""
    new: int
    changed: int
    unchanged: int
    gone: int
    failed: int
    records_new: int
    records_old: int
    chunks_embedded: int
    embedding_calls: int
    tokens: int
    seconds: float
    failures: tuple[FailureView, ...]
    error: Mapping[str, object] | None = None
    paused: Mapping[str, object] | None = None
    """Why the job waits, and what to do: `reason`, `stage`, `message`, `fix`."""
    scope: str = ""
    """What the source listed completely; empty where it could not know."""
    listed: tuple[str, ...] = field(default=(), repr=False)
    """External ids of the documents the source listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Texts with their vectors, not stored anywhere."""

    texts: tuple[str, ...]
    matrix: Matrix
    """Shape (len(texts), dimensions), float32."""

    def to_arrow(self) -> pa.Table:
        """Columns `text` and `vector`."""
        return pa.table({"text": list(self.texts), "vector": vector_column(self.matrix)})
