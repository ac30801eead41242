"""Settings -> the plugins and the recipe that they name."""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from urllib.parse import urlsplit

from vectorflow import plugins
from vectorflow.adapters._addresses import store_policy, system_lookup
from vectorflow.adapters.chunkers import custom
from vectorflow.domain.formats import TEXT, format_of, unreadable
from vectorflow.domain.pipelines import Chunking, Pipeline, Recipe
from vectorflow.errors import InvalidInput, MissingExtra, UnsupportedFormat
from vectorflow.ports.chunker import Chunker
from vectorflow.ports.embedder import Embedder
from vectorflow.ports.extractor import Extractor
from vectorflow.ports.hooks import Hooks
from vectorflow.ports.tokenizer import Tokenizer
from vectorflow.ports.vector_store import VectorStore
from vectorflow.ports.work import Lease
from vectorflow.sandbox.extractor import sandboxed
from vectorflow.sandbox.pool import Pool
from vectorflow.service.extract import Cutters
from vectorflow.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_CHUNK_TOKENS = 512

LOCAL_STORE = "LOCAL_VECTOR_DB"
"""Environment name of the host that v0 clients name as their store."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def make_embedder(settings: Settings, name: str, key: str | None = None) -> Embedder:
    """Make an embedder from `plugin:model`, without loading or connecting.

    `key` is its provider's; None takes that of the settings.
    """
    plugin, _, model = name.partition(":")
    if plugin == "openai" and settings.offline:
        check_offline_url(settings.openai.base_url)
    options = _openai_options(settings, key) if plugin == "openai" else {}
    made: object = plugins.load("embedders", plugin)(model, **options)
    if not isinstance(made, Embedder):
        message = f"embedder {plugin!r} is not an Embedder"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made


def _openai_options(settings: Settings, key: str | None) -> dict[str, object]:
    own, kept = settings.openai, settings.openai.key
    return {
        "key": key or (kept.get_secret_value() if kept else None),
        "base_url": own.base_url,
        "concurrency": own.concurrency,
        "timeout": own.timeout,
    }


def check_offline_url(url: str) -> None:
    """Refuse to call another machine.

    Raises:
        InvalidInput: Names the host.
    """
    host = urlsplit(url).hostname or ""
    if host not in LOOPBACK:
        message = f"{host!r} is another machine, and VECTORFLOW_OFFLINE is set"
        raise InvalidInput(message, fix="name a place on this machine, or unset it")


def make_recipe(
    settings: Settings, *, lines: int | None = None, validation: str | None = None
) -> Recipe:
    """Put together everything that shapes records, with the revisions installed here.

    Raises:
        InvalidInput: A plugin is unknown, or the model cannot read chunks of this size.
    """
    embedder = make_embedder(settings, settings.embedder)
    limit = embedder.limits.max_text_tokens
    size = settings.chunking.size or min(DEFAULT_CHUNK_TOKENS, limit)
    if size > limit and not settings.chunking.chunker.endswith("characters"):
        message = f"{settings.embedder} reads {limit} tokens of a text, chunks of {size} were asked"
        raise InvalidInput(message, fix=f"ask for a chunk size of {limit} or less")
    overlap = size // 8 if settings.chunking.overlap is None else settings.chunking.overlap
    if overlap >= size:
        message = f"an overlap of {overlap} tokens does not fit into chunks of {size}"
        raise InvalidInput(message, fix=f"ask for an overlap below {size}")
    chunker = settings.chunking.chunker
    return Recipe(
        chunking=Chunking(chunker=chunker, size=size, overlap=overlap, lines=lines),
        chunker_revision=revision("chunkers", chunker),
        tokenizer=embedder.tokenizer,
        tokenizer_revision=revision("tokenizers", embedder.tokenizer),
        fingerprint=embedder.fingerprint,
        extractors={name: revision("extractors", name) for name in installed_extractors()},
        validation=validation,
    )


async def leased_cutters(
    settings: Settings, lease: Lease, sandbox: Pool, hooks: Callable[[], Awaitable[Hooks]]
) -> Cutters:
    """Make the extractors, the chunker and the validation of a lease's pipeline."""
    cutters = make_cutters(settings, lease.pipeline, sandbox)
    if lease.pipeline.recipe.validation is None:
        return cutters
    url = lease.job.credentials.validation_url or ""
    return replace(cutters, validate=partial((await hooks()).validate, url))


def make_cutters(settings: Settings, pipeline: Pipeline, sandbox: Pool) -> Cutters:
    """Make the extractors and the chunker of a pipeline."""
    recipe = pipeline.recipe
    tokenizer = _tokenizer(recipe.tokenizer)
    chunking = recipe.chunking
    chunker: Chunker = _chunker_class(settings, chunking.chunker)(tokenizer, chunking)

    def extractor(name: str) -> AbstractAsyncContextManager[Extractor]:
        found = _extractor_class(name)
        return sandboxed(sandbox, found) if found.sandboxed else nullcontext(found())

    return Cutters(
        extractor=extractor,
        detect=detect,
        chunker=chunker,
        count=tokenizer.count,
        longest=make_embedder(settings, pipeline.embedder).limits.max_text_tokens,
    )


def _chunker_class(settings: Settings, name: str) -> type:
    """Find a chunker; a function only if this machine's own settings name it, as its code runs."""
    if not custom.is_custom(name):
        return plugins.load("chunkers", name)
    if name != settings.chunking.chunker:
        message = f"chunker {name!r} is not the one of this machine's settings"
        raise InvalidInput(message, fix="set VECTORFLOW_CHUNKING__CHUNKER on the worker too")
    return custom.load(name)


@lru_cache(maxsize=8)
def _tokenizer(name: str) -> Tokenizer:
    """Make a tokenizer once: it takes 20 ms or more, and every batch of extraction asks for it."""
    made: Tokenizer = plugins.load("tokenizers", name)()
    return made


def detect(name: str, head: bytes) -> str:
    """Name the extractor of a document by its first bytes, then by its name; else plain text.

    Raises:
        UnsupportedFormat: There is none, or the library that it needs is not installed.
    """
    found = format_of(name, head, _suffixes())
    if found == TEXT and (what := unreadable(head)):
        raise UnsupportedFormat(f"it is {what}")
    if found not in installed_extractors():
        raise UnsupportedFormat(
            f"what reads {found} files is not installed",
            fix=f"pip install 'vectorflow-engine[{plugins.extra_of('extractors', found)}]'",
        )
    return found


@cache
def _suffixes() -> Mapping[str, str]:
    """Endings of file names -> extractor."""
    found: dict[str, str] = {}
    for name in plugins.names("extractors"):
        for suffix in _extractor_class(name).suffixes:
            found.setdefault(suffix, name)
    return found


@cache
def installed_extractors() -> frozenset[str]:
    """Extractors whose library is installed; none of them is imported for it."""
    return frozenset(
        name
        for name in plugins.names("extractors")
        if not (library := _extractor_class(name).library) or find_spec(library)
    )


def _extractor_class(name: str) -> type[Extractor]:
    found: type[Extractor] = plugins.load("extractors", name)
    return found


def revision(kind: str, name: str) -> int:
    """Revision of an installed plugin, or of a function that cuts."""
    is_custom = kind == "chunkers" and custom.is_custom(name)
    plugin = custom.load(name) if is_custom else plugins.load(kind, name)
    found: object = getattr(plugin, "revision", None)
    if not isinstance(found, int):
        message = f"{kind} {name!r} has no revision"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return found


def capabilities(chunker: str = "") -> Mapping[str, int]:
    """Revisions of all plugins whose libraries are installed: `kind/name` -> revision.

    Args:
        chunker: That of the settings; counts if it is a function of the operator's own.
    """
    found: dict[str, int] = {}
    if custom.is_custom(chunker):
        found[f"chunkers/{chunker}"] = revision("chunkers", chunker)
    for kind in ("extractors", "chunkers", "tokenizers"):
        for name in installed_extractors() if kind == "extractors" else plugins.names(kind):
            try:
                found[f"{kind}/{name}"] = revision(kind, name)
            except MissingExtra:
                log.info("plugin_not_installed", extra={"kind": kind, "plugin": name})
    return found


def store_locator(url: str) -> str:
    """Canonical locator of a store, without credentials."""
    found: type[VectorStore] = plugins.load("vector_stores", url.partition("://")[0])
    return found.locator(url)


def make_store(
    settings: Settings, url: str, key: str | None, *, named: bool = False
) -> VectorStore:
    """Make a store from its URL, without connecting; only some stores take a key.

    One that was `named` in a request may be at addresses only that requests may name, also when its
    name is looked up anew.
    """
    scheme = url.partition("://")[0]
    options: dict[str, object] = {"timeout": settings.worker.store_timeout}
    options |= {"key": key} if key else {}
    if named and scheme == "qdrant":
        options["resolver"] = _judged(settings)
    made: object = plugins.load("vector_stores", scheme)(url, **options)
    if not isinstance(made, VectorStore):
        message = f"{type(made).__name__} is not a VectorStore"
        raise InvalidInput(message, fix="install a plugin written for this release")
    return made


def _judged(settings: Settings) -> object:
    from vectorflow.adapters._http import JudgedResolver  # noqa: PLC0415 - most processes need none

    own = os.environ.get(LOCAL_STORE, "")
    policy = store_policy(
        settings.stores.allow, own=own.partition("://")[2] or own, offline=settings.offline
    )
    return JudgedResolver(policy, system_lookup)


def make_hooks(settings: Settings) -> Hooks:
    """Make what calls addresses of users, without connecting."""
    from vectorflow.adapters.hooks.http import HttpHooks  # noqa: PLC0415 - most processes call none

    hooks = settings.hooks
    return HttpHooks(hooks.allow, timeout=hooks.timeout, offline=settings.offline)
