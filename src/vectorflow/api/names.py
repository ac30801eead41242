"""The names of the v0 API for embedders, stores and chunkers: by value or by name, in any case."""

from collections.abc import Mapping

from vectorflow.api.backend import Backend, Wanted
from vectorflow.api.schemas import EmbeddingsMetadata, VectorDBMetadata
from vectorflow.domain.store_rules import check_index_name
from vectorflow.errors import InvalidInput

LOCAL_TYPES = ("self_hosted", "hugging_face")
"""Embeddings types that mean the embedder of this server."""

STORES: Mapping[str, str] = {"lancedb": "lancedb", "pgvector": "postgresql"}
"""Vector database types -> store plugins; any other type is the plugin of that name."""

CHUNKERS: Mapping[str, str] = {"exact": "tokens", "default": "default", "tokens": "tokens"}
"""Chunk strategies -> chunker plugins."""


def wanted(
    backend: Backend,
    embeddings: EmbeddingsMetadata,
    store: VectorDBMetadata,
    default_overlap: int | None,
) -> Wanted:
    """Translate what a v0 client asks for, as far as this server can do it.

    Raises:
        InvalidInput: It cannot, and the sentence names what it can.
    """
    _check_embeddings(backend, embeddings)
    _check_store(backend, store)
    overlap = embeddings.chunk_overlap
    return Wanted(
        index=store.index_name,
        chunker=_chunker(embeddings.chunk_strategy),
        size=embeddings.chunk_size,
        overlap=default_overlap if overlap is None else overlap,
    )


def _check_embeddings(backend: Backend, embeddings: EmbeddingsMetadata) -> None:
    _, _, own = backend.embedder.partition(":")
    if embeddings.embeddings_type.lower() not in LOCAL_TYPES:
        message = f"embeddings_type {_quoted(embeddings.embeddings_type)} is not available here"
        raise InvalidInput(
            message, fix=f"send one of {', '.join(LOCAL_TYPES)}: they embed by {own}"
        )
    for model in (embeddings.model, embeddings.hugging_face_model_name):
        if model and model.rpartition("/")[2].lower() not in {own.lower(), backend.embedder}:
            message = f"this server embeds by {own}, not by {_quoted(model)}"
            raise InvalidInput(message, fix=f"leave the model out, or send {own}")


def _check_store(backend: Backend, store: VectorDBMetadata) -> None:
    name = store.vector_db_type.lower()
    if STORES.get(name, name) != backend.store:
        names = [v0 for v0, plugin in STORES.items() if plugin == backend.store] or [backend.store]
        message = f"vector_db_type {_quoted(store.vector_db_type)} is not the store of this server"
        raise InvalidInput(message, fix=f"send {names[0]}")
    if store.environment and not backend.is_store(store.environment):
        message = "environment is not the store of this server"
        raise InvalidInput(message, fix="leave it empty: the server knows its store")
    check_index_name(store.index_name)


def _chunker(strategy: str | None) -> str | None:
    if not strategy:
        return None
    chunker = CHUNKERS.get(strategy.lower())
    if chunker is None:
        message = f"chunk_strategy {_quoted(strategy)} is not available here"
        raise InvalidInput(message, fix="send EXACT, or leave it out for the server's default")
    return chunker


def _quoted(value: str) -> str:
    return repr(value[:100])
