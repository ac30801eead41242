"""The settings that shape a document's records, and their identity."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from vectorflow.domain.documents import canonical_json, content_hash

WEBHOOK_SCHEME = "webhook://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What makes two vectors comparable. Not runtime, lossless precision, address or account."""

    model: str
    revision: str
    """Weights revision, or the SHA-256 of the weights."""
    dimensions: int
    pooling: str
    normalized: bool
    document_prefix: str = ""
    query_prefix: str = ""

    @property
    def digest(self) -> str:
        """Stable identity, 32 hexadecimal characters."""
        return content_hash(canonical_json(asdict(self)).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How documents are cut. Sizes are tokens of the embedder's tokenizer."""

    chunker: str
    size: int
    overlap: int
    lines: int | None = None
    """Source lines after which a batch, and with it a chunk, must end; None: no such bound."""

    @property
    def unit(self) -> str:
        """What the sizes count; the name of a chunker that counts characters says so."""
        return "characters" if self.chunker.endswith("characters") else "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that shapes a document's records. Revisions, never product or library versions."""

    chunking: Chunking
    chunker_revision: int
    tokenizer: str
    tokenizer_revision: int
    fingerprint: Fingerprint
    extractors: Mapping[str, int] = field(hash=False)
    """Revision of every extractor the submitter knows, by name."""
    fields: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    validation: str | None = None
    """Digest of the address of a hook that may change chunks; None without one."""

    def digest(self, extractor: str, metadata: Mapping[str, object]) -> str:
        """Identity of what this recipe makes of one document."""
        parts = _written(self, extractor)
        return content_hash(f"[{parts},{canonical_json(metadata)}]".encode())

    @property
    def requires(self) -> Mapping[str, int]:
        """Plugin revisions a worker must have: `kind/name` -> revision."""
        extractors = {f"extractors/{name}": rev for name, rev in self.extractors.items()}
        return extractors | {
            f"chunkers/{self.chunking.chunker}": self.chunker_revision,
            f"tokenizers/{self.tokenizer}": self.tokenizer_revision,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A recipe and where it runs: from one embedder into one index of one store."""

    recipe: Recipe
    embedder: str
    """`plugin:model`."""
    store: str
    """Canonical locator of the store: a URL without credentials; `webhook://HOST` for a webhook."""
    index: str

    @property
    def digest(self) -> str:
        """Stable identity, 32 hexadecimal characters."""
        return _pipeline_digest(self)

    @property
    def delivers(self) -> bool:
        """Vectors are sent to somebody and kept in no store: nothing is searched or retired."""
        return self.store.startswith(WEBHOOK_SCHEME)


def webhook_store(url: str) -> str:
    """Give the locator that stands for a webhook: its host, and nothing that may be a secret."""
    return f"{WEBHOOK_SCHEME}{(urlsplit(url).hostname or '')[:255]}"


def validation_digest(url: str) -> str:
    """Name a validation hook without its query, which may hold a signature that changes."""
    parts = urlsplit(url)
    return content_hash(f"{parts.scheme}://{parts.netloc}{parts.path}".encode())


@lru_cache(maxsize=256)
def _written(recipe: Recipe, extractor: str) -> str:
    """Write a recipe down: once, not for each of thousands of documents."""
    parts = asdict(recipe) | {"extractors": {extractor: recipe.extractors[extractor]}}
    return canonical_json(parts)


@lru_cache(maxsize=256)
def _pipeline_digest(pipeline: Pipeline) -> str:
    return content_hash(canonical_json(asdict(pipeline)).encode())
