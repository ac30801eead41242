"""The names of the v0 API for embedders, stores and chunkers: by value or by name, in any case."""

from collections.abc import Mapping

from vectorflow.api.backend import Backend
from vectorflow.api.schemas import EmbeddingsMetadata
from vectorflow.errors import InvalidInput

OPENAI_TYPE = "open_ai"
DEFAULT_MODEL = "text-embedding-ada-002"
"""Of `open_ai`, where a client names none."""

LOCAL_TYPES = ("self_hosted", "hugging_face")
"""Embeddings types that mean the runtime of this server."""

STORES: Mapping[str, str] = {
    "lancedb": "lancedb",
    "pgvector": "postgresql",
    "pinecone": "pinecone",
    "qdrant": "qdrant",
}
"""Vector database types -> store plugins; any other type is the plugin of that name."""

NOT_YET = ("weaviate", "milvus", "deeplake", "vespa", "redis", "mongodb")
"""Vector database types that the v0 API knows and this server does not."""

CHUNKERS: Mapping[str, str] = {
    "exact": "tokens",
    "exact_by_characters": "characters",
    "paragraph": "paragraphs",
    "paragraph_by_characters": "paragraphs_by_characters",
    "sentence": "sentences",
    "sentence_by_characters": "sentences_by_characters",
    "default": "default",
    "tokens": "tokens",
    "recursive": "recursive",
    "markdown": "markdown",
    "html": "html",
    "code": "code",
    "rows": "rows",
    "lines": "lines",
    "pages": "pages",
}
"""Chunk strategies -> chunker plugins; no request may name a function of the operator's own."""


def embedder_of(backend: Backend, embeddings: EmbeddingsMetadata) -> str:
    """Give the embedder, `plugin:model`, that a client means.

    Raises:
        InvalidInput: This server has none such, and the sentence names those it has.
    """
    kind = embeddings.embeddings_type.lower()
    if kind in {OPENAI_TYPE, "openai"}:
        return f"openai:{embeddings.model or DEFAULT_MODEL}"
    if kind not in LOCAL_TYPES:
        message = f"embeddings_type {_quoted(embeddings.embeddings_type)} is not available here"
        raise InvalidInput(message, fix=f"send one of {', '.join((OPENAI_TYPE, *LOCAL_TYPES))}")
    own = backend.local_embedder.partition(":")[2]
    for model in (embeddings.model, embeddings.hugging_face_model_name):
        if model and model.rpartition("/")[2].lower() not in {own.lower(), backend.local_embedder}:
            message = f"this server runs {own}, not {_quoted(model)}"
            raise InvalidInput(message, fix=f"leave the model out, or send {own}")
    return backend.local_embedder


def store_of(type_: str) -> str:
    """Give the plugin of a store.

    Raises:
        InvalidInput: There is none such here.
    """
    name = type_.lower()
    if name in NOT_YET:
        message = f"vector_db_type {_quoted(type_)} is not available yet"
        raise InvalidInput(message, fix=f"send one of {', '.join(STORES)}")
    return STORES.get(name, name)


def chunker_of(strategy: str | None) -> str | None:
    """Give the plugin of a chunk strategy; None leaves it to the server.

    Raises:
        InvalidInput: There is none such here.
    """
    if not strategy:
        return None
    chunker = CHUNKERS.get(strategy.lower())
    if chunker is None:
        message = f"chunk_strategy {_quoted(strategy)} is not available here"
        fix = f"send one of {', '.join(CHUNKERS)}, or leave it out for the server's default"
        raise InvalidInput(message, fix=fix)
    return chunker


def _quoted(value: str) -> str:
    return repr(value[:100])
