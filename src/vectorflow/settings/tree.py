"""The tree of settings; a field's docstring says its unit and how to choose it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr

_MIB = 1 << 20
_FREE_FLOOR = ByteSize(256 * _MIB)
_MAX_UPLOAD = ByteSize(25 * _MIB)
_MAX_BATCH = ByteSize(1024 * _MIB)
_BYTE_BUDGET = ByteSize(256 * _MIB)
_CHILD_MEMORY = ByteSize(1024 * _MIB)
_CACHE = ByteSize(2048 * _MIB)
_LEAST_CACHE = 16 * _MIB


def _is_url(value: SecretStr) -> SecretStr:
    if not re.match(r"[a-z][a-z0-9+.-]*://", value.get_secret_value()):
        raise ValueError("a URL is needed, such as postgresql://user:password@host/name")
    return value


def _is_folder(value: Path) -> Path:
    if "?" in str(value):
        raise ValueError("the path may hold no question mark, as it becomes part of a URL")
    return value.expanduser()


def _split(value: object) -> object:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


Url = Annotated[SecretStr, AfterValidator(_is_url)]
"""A secret, since it may hold a password."""
Folder = Annotated[Path, AfterValidator(_is_folder)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Hosts = Annotated[tuple[Text, ...], BeforeValidator(_split)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/?#@]+(/[^?#]*)?$")]
"""Without credentials, query or fragment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The ledger."""

    url: Url | None = None
    """Where the ledger is: a `postgresql://` or `mariadb://` URL, to share it between machines. Not
    set, it is the SQLite file `ledger.db` in the data directory, which all processes of one machine
    may share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """What wakes workers up."""

    url: Url | None = None
    """A message broker that wakes workers as soon as there is work: RabbitMQ
    (`amqps://user:password@host/vhost`), Redis (`rediss://:password@host/0`) or SQS
    (`sqs://?region=eu-west-1`). Not set, workers look for work by themselves."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")] = "vectorflow"
    """What the names of its queues begin with; another one for each ledger that shares a broker."""
    poll_seconds: Seconds = 5.0
    """Seconds between two looks for work of a worker that a broker wakes. While the broker is away
    they are `worker.poll_seconds`."""
    sweep_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 30.0
    """Seconds that work may wait before workers are woken again, as the first message was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSettings:
    """Uploads, manifests and vector files."""

    free_floor_bytes: Annotated[ByteSize, Field(ge=0)] = _FREE_FLOOR
    """Bytes that must stay free on the disk: with less, new work is refused and what is under way
    can still end. Choose a few times what one upload may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Vectors that were made on this machine."""

    max_bytes: Annotated[ByteSize, Field(ge=0)] = _CACHE
    """Bytes of vectors that each machine keeps in the folder `cache` of the data directory, so that
    the same text is not embedded twice; 0 keeps none, else 16 MiB at least. A million vectors of
    1,536 dimensions take 6 GB."""
    days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """Days that a vector is kept there at most, whatever becomes of its document."""

    def __post_init__(self) -> None:
        if 0 < self.max_bytes < _LEAST_CACHE:
            raise ValueError("max_bytes must be 0, or 16 MiB at least")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkingSettings:
    """How documents are cut."""

    chunker: Text = "default"
    """Name of the chunker, or a function of your own as `./mine.py:function`."""
    size: Count | None = None
    """Tokens of a chunk, at most. Not set, it is 512 or what the model reads, if that is less."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that a chunk may repeat of the one before. Not set, it is an eighth of the size."""

    def __post_init__(self) -> None:
        if None not in {self.size, self.overlap} and (self.overlap or 0) >= (self.size or 0):
            raise ValueError("the overlap must be less than the size")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The HTTP server."""

    host: Text = "127.0.0.1"
    """Address to listen on. The default lets in this machine only; `0.0.0.0` lets in all."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""
    key: SecretStr | None = None
    """Key that every request carries; while it is changed, the new and the old one with a comma
    between. Not set, a key is made at the first start and shown once."""
    max_upload_bytes: Annotated[ByteSize, Field(ge=1)] = _MAX_UPLOAD
    """Bytes of one file sent to `/embed`, at most."""
    max_batch_bytes: Annotated[ByteSize, Field(ge=1)] = _MAX_BATCH
    """Bytes of all files of one request to `/jobs`, and of a file fetched from a presigned URL, at
    most."""

    @property
    def keys(self) -> tuple[SecretStr, ...]:
        """All keys that let a request in, the newest first."""
        parts = self.key.get_secret_value().split(",") if self.key else []
        return tuple(SecretStr(part.strip()) for part in parts if part.strip())

    def __post_init__(self) -> None:
        if self.key and not self.keys:
            raise ValueError("the key is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The API that a worker without a ledger works for."""

    url: HttpUrl | None = None
    """Where it is. `vectorflow worker` needs no ledger then, nor a folder that it shares. Work that
    has credentials is given out over `https:` only, or on one machine."""
    key: SecretStr | None = None
    """Key of the server, with the scope `work`. Not set, it is the first of `api.key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What extracts, embeds and stores."""

    byte_budget: Annotated[ByteSize, Field(ge=16 * _MIB)] = _BYTE_BUDGET
    """Bytes of texts and vectors in memory at once. More lets more work overlap; the model and
    the libraries come on top."""
    lease_seconds: Annotated[float, Field(ge=30, allow_inf_nan=False)] = 60.0
    """Seconds after which the work of a worker that died is handed out again; 30 at least."""
    batches: Count = 256
    """Batches held at once. More fills the model's requests better where documents are small."""
    store_timeout: Seconds = 30.0
    """Seconds that one call of the vector store may take; less than the lease."""
    poll_seconds: Seconds = 0.2
    """Seconds between two looks for work while there is none."""
    shutdown_grace: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """Seconds to end what is under way when asked to stop; the rest is handed back."""

    def __post_init__(self) -> None:
        if self.store_timeout >= self.lease_seconds:
            raise ValueError("store_timeout must be less than lease_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """The child processes that read files which are not plain text."""

    children: Count | None = None
    """Documents read at once, each in a child that takes 25 MB beside its libraries. Not set, it is
    one for each core."""
    documents: Count = 1000
    """Documents after which a child is replaced by a fresh one. Fewer, where a library leaks."""
    memory_bytes: Annotated[ByteSize, Field(ge=256 * _MIB)] = _CHILD_MEMORY
    """Bytes of address space of a child; a document that needs more fails. Choose it so that all
    children fit the machine beside the model."""
    cpu_seconds: Count = 300
    """Seconds of CPU that one document may take. More, where documents of hundreds of megabytes
    are read."""
    silent_seconds: Seconds = 120.0
    """Seconds without further text after which a document is given up as hung. More, where the
    machine is so busy that children hardly run."""
    output_characters: Count = 200_000_000
    """Characters of text and bytes of attachments that one document may give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiSettings:
    """The embedder `openai`, and every provider that speaks as OpenAI does."""

    key: SecretStr | None = None
    """Key for the provider, where a request brings none."""
    base_url: HttpUrl = "https://api.openai.com/v1"
    """Where the provider is, without `/embeddings`. Keys are sent there and nowhere else."""
    concurrency: Count = 64
    """Requests under way at once in one worker."""
    timeout: Seconds = 60.0
    """Seconds that one request may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PineconeSettings:
    """The store `pinecone`."""

    key: SecretStr | None = None
    """Key for Pinecone, where a request brings none."""
    control_url: HttpUrl = "https://api.pinecone.io"
    """Where indexes are looked up by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QdrantSettings:
    """The store `qdrant`."""

    key: SecretStr | None = None
    """Key for the Qdrant of `store` or LOCAL_VECTOR_DB; it is sent to no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Which stores requests may name, and who writes to our own."""

    allow: Hosts = ()
    """Hosts, `host:port`, `*.domain` or networks (`10.0.0.0/8`), with commas between, that a
    request may name as its store beside public addresses, this machine and LOCAL_VECTOR_DB."""
    lend: bool = True
    """Let workers over HTTP write to the store of `store` themselves: they are lent its address and
    credentials. False where only the API reaches it, which writes for them then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """Webhooks, validation hooks and presigned URLs."""

    allow: Hosts = ()
    """Hosts, `host:port`, `*.domain` or networks, with commas between, that may be called though
    their address is not public, or without TLS."""
    timeout: Seconds = 30.0
    """Seconds that one call may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings:
    """Credentials that rest."""

    key: SecretStr | None = None
    """Key that credentials are sealed with, 32 bytes in base64 (`vectorflow secrets make-key`);
    while it is changed, the new and the old one with a comma between. Not set, it is made in the
    file `secret.key` of the data directory, which all who share a ledger must share then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long things are kept that are over. What is served, waits or is under way stays."""

    orphans_hours: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 24.0
    """Hours that a blob is kept to which nothing refers: an upload whose document is live, the
    manifest of a version that was replaced. Longer than the longest upload takes."""
    vectors_hours: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 24.0
    """Hours that the vectors of an ended job are kept for download where no store holds them; no
    longer than `retention.attempts_days` and `retention.jobs_days`."""
    versions_days: Days = 30.0
    """Days that a version of a document is remembered after it was replaced or given up. Longer
    than any worker may stand still and go on."""
    attempts_days: Days = 30.0
    """Days that each try of the work of an ended job is remembered, to find out what it cost and
    why it took long. Fewer, where the ledger grows too fast: this is most of it."""
    failures_days: Days = 90.0
    """Days that what failed can be tried again; its upload is kept as long, and it is listed."""
    jobs_days: Days = 90.0
    """Days that an ended job is remembered of which no document is served any more, and every job
    whose vectors were sent to a webhook: its state, and that a request with its idempotency key was
    done. Longer than clients ask and repeat."""
    keys_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 90.0
    """Days that an API key is listed after it was revoked or expired."""

    def __post_init__(self) -> None:
        if self.vectors_hours > min(self.attempts_days, self.jobs_days) * 24:
            raise ValueError("vectors_hours must not be longer than attempts_days and jobs_days")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """How what failed is tried again; a store or provider that is away costs no document."""

    longest_pause: Seconds = 60.0
    """Seconds between two tries of what failed, and between two looks whether a system that is
    away is back, unless it asks for more itself."""
    outage_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 24.0
    """Hours without an answer after which jobs that wait are paused, for somebody to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """What monitoring systems are told."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port on which a worker tells its metrics, at `/metrics` and without a key; 0 takes a free
    one. Not set, it does not listen. The API tells those of the ledger on its own port."""
    host: Text = "127.0.0.1"
    """Address that a worker listens on for that. The default lets in this machine only; `0.0.0.0`
    lets in all."""
    open: bool = False
    """Let the API answer `/metrics` without a key too, for monitoring systems that cannot send
    one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged: `debug`, `info`, `warning` or `error`."""
    json: bool = False
    """One JSON object a line, for machines that collect logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; made by `load`."""

    data_dir: Folder = Path(".vectorflow")
    """Folder of everything kept on this machine, made when it is needed."""
    store: Url | None = None
    """The vector store: `lancedb:///path`, `postgresql://user:password@host/name`. Not set, it is
    LanceDB in the folder `vectors` of the data directory."""
    embedder: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*:.+$")] = "local:all-MiniLM-L6-v2"
    """What makes the vectors, as `plugin:model`. Another model needs another index."""
    index: Text = "default"
    """Index that is used where none is named."""
    offline: bool = False
    """Refuse every call that would leave this machine."""
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    blobs: BlobSettings = field(default_factory=BlobSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    chunking: ChunkingSettings = field(default_factory=ChunkingSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    sandbox: SandboxSettings = field(default_factory=SandboxSettings)
    openai: OpenAiSettings = field(default_factory=OpenAiSettings)
    pinecone: PineconeSettings = field(default_factory=PineconeSettings)
    qdrant: QdrantSettings = field(default_factory=QdrantSettings)
    stores: StoreSettings = field(default_factory=StoreSettings)
    hooks: HookSettings = field(default_factory=HookSettings)
    secrets: SecretSettings = field(default_factory=SecretSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    retries: RetrySettings = field(default_factory=RetrySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    origins: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)
    """Where each value that is no default came from: `flag`, an environment name, a file."""

    @property
    def database_url(self) -> str:
        """URL of the ledger, with its password."""
        if self.database.url:
            return self.database.url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'ledger.db'}"

    @property
    def queue_url(self) -> str:
        """URL of the message broker, with its password; `polling://` is none."""
        return self.queue.url.get_secret_value() if self.queue.url else "polling://"

    @property
    def store_url(self) -> str:
        """URL of the vector store, with its password."""
        if self.store:
            return self.store.get_secret_value()
        return f"lancedb://{self.data_dir.absolute() / 'vectors'}"
