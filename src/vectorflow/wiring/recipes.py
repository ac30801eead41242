"""Settings -> the plugins and the recipe that they name."""

import logging
from collections.abc import Mapping
from pathlib import PurePosixPath

from vectorflow import plugins
from vectorflow.domain.pipelines import Chunking, Recipe
from vectorflow.errors import InvalidInput, MissingExtra
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.ports.vector_store import VectorStore
from vectorflow.service.extract import Cutters
from vectorflow.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_CHUNK_TOKENS = 512


def make_embedder(name: str) -> Embedder:
    """Make an embedder from `plugin:model`, without loading or connecting."""
    plugin, _, model = name.partition(":")
    made: object = plugins.load("embedders", plugin)(model)
    if not isinstance(made, Embedder):
        message = f"embedder {plugin!r} is not an Embedder"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made


def make_recipe(settings: Settings) -> Recipe:
    """Put together everything that shapes records, with the revisions installed here.

    Raises:
        InvalidInput: A plugin is unknown, or the model cannot read chunks of this size.
    """
    embedder = make_embedder(settings.embedder)
    limit = embedder.limits.max_text_tokens
    size = settings.chunking.size or min(DEFAULT_CHUNK_TOKENS, limit)
    if size > limit:
        message = f"{settings.embedder} reads {limit} tokens of a text, chunks of {size} were asked"
        raise InvalidInput(message, fix=f"ask for a chunk size of {limit} or less")
    overlap = size // 8 if settings.chunking.overlap is None else settings.chunking.overlap
    if overlap >= size:
        message = f"an overlap of {overlap} tokens does not fit into chunks of {size}"
        raise InvalidInput(message, fix=f"ask for an overlap below {size}")
    chunker = settings.chunking.chunker
    return Recipe(
        chunking=Chunking(chunker=chunker, size=size, overlap=overlap),
        chunker_revision=revision("chunkers", chunker),
        tokenizer=embedder.tokenizer,
        tokenizer_revision=revision("tokenizers", embedder.tokenizer),
        fingerprint=embedder.fingerprint,
        extractors={name: revision("extractors", name) for name in plugins.names("extractors")},
    )


def make_cutters(recipe: Recipe) -> Cutters:
    """Make the extractors and the chunker of a recipe."""
    tokenizer: Tokenizer = plugins.load("tokenizers", recipe.tokenizer)()
    chunking = recipe.chunking
    chunker: Chunker = plugins.load("chunkers", chunking.chunker)(tokenizer, chunking)

    def extractor(name: str) -> Extractor:
        made: Extractor = plugins.load("extractors", name)()
        return made

    return Cutters(extractor=extractor, chunker=chunker)


def detect(name: str) -> str:
    """Name the extractor for a file name, in any letter case; plain text where none fits."""
    suffix = PurePosixPath(name).suffix.lower()
    for candidate in plugins.names("extractors"):
        if suffix and suffix in getattr(plugins.load("extractors", candidate), "suffixes", ()):
            return candidate
    return "text"


def revision(kind: str, name: str) -> int:
    """Revision of an installed plugin."""
    found: object = getattr(plugins.load(kind, name), "revision", None)
    if not isinstance(found, int):
        message = f"{kind} {name!r} has no revision"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return found


def capabilities() -> Mapping[str, int]:
    """Revisions of all plugins whose libraries are installed: `kind/name` -> revision."""
    found: dict[str, int] = {}
    for kind in ("extractors", "chunkers", "tokenizers"):
        for name in plugins.names(kind):
            try:
                found[f"{kind}/{name}"] = revision(kind, name)
            except MissingExtra:
                log.info("plugin_not_installed", extra={"kind": kind, "plugin": name})
    return found


def store_locator(url: str) -> str:
    """Canonical locator of a store, without credentials."""
    found: type[VectorStore] = plugins.load("vector_stores", url.partition("://")[0])
    return found.locator(url)


def make_store(url: str, *, timeout: float) -> VectorStore:
    """Make a store from its URL, without connecting."""
    made: object = plugins.load("vector_stores", url.partition("://")[0])(url, timeout=timeout)
    if not isinstance(made, VectorStore):
        message = f"{type(made).__name__} is not a VectorStore"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made
