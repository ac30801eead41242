"""Stores as clients of the v0 API name them -> places that this server may reach."""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from vectorflow import plugins
from vectorflow.adapters._addresses import check_store_address
from vectorflow.api.backend import Place, StoreNamed
from vectorflow.errors import InvalidInput, KeyRefused
from vectorflow.settings import Settings
from vectorflow.wiring.credentials import is_bound_here, local_store
from vectorflow.wiring.recipes import LOCAL_STORE, check_offline_url, store_locator

_PINECONE_HOST = re.compile(r"[a-z0-9.-]+\.pinecone\.io|(localhost|127\.0\.0\.1|\[::1\]):\d+")


class Places:
    """Finds the place of a store; remembers nothing that may change."""

    def __init__(
        self, settings: Settings, locator: str, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._settings = settings
        self._locator = locator
        self._own = store_locator(settings.store_url)
        self._local = environ.get(LOCAL_STORE, "")

    async def find(self, named: StoreNamed, kept: str | None = None) -> Place:
        """Give the place of a store, or refuse it; `kept` is the tenant's own key for it.

        Raises:
            InvalidInput: There is no such plugin, or it is not a store that requests may choose.
            ForbiddenAddress: Its address may not be reached from here.
            NotFound, KeyRefused: The store says so.
        """
        plugin = named.plugin
        if plugin == "pinecone":
            return await self._pinecone(named, kept)
        if plugin == "qdrant":
            return await self._qdrant(named)
        if plugin not in plugins.names("vector_stores") or not self._own.startswith(f"{plugin}:"):
            message = f"vector_db_type {plugin[:100]!r} is not the store of this server"
            fix = f"send {self._own.partition('://')[0]}, pinecone or qdrant"
            raise InvalidInput(message, fix=fix)
        self._check_own(named)
        return Place(store=self._locator, index=named.index_name)

    def _check_own(self, named: StoreNamed) -> None:
        name = named.environment
        if not name or name == self._local or _is_store(name, self._own):
            return
        message = "environment is not the store of this server"
        raise InvalidInput(message, fix="leave it empty: the server knows its store")

    async def _qdrant(self, named: StoreNamed) -> Place:
        """A URL, a host, or the name in LOCAL_VECTOR_DB; empty is the server's own."""
        name = named.environment or self._local
        if not name and self._own.startswith("qdrant:"):
            return Place(store=self._locator, index=named.index_name)
        if not name:
            message = "environment does not say where Qdrant is"
            raise InvalidInput(message, fix="send its URL, such as https://HOST:6333")
        if name == self._local:
            return Place(store=local_store("qdrant", name), index=named.index_name)
        locator = store_locator(_qdrant_url(name))
        if locator != self._own:
            await self._check_address(locator, 6333)
        return Place(store=locator, index=named.index_name)

    async def _pinecone(self, named: StoreNamed, kept: str | None) -> Place:
        """The index is found by its name, unless `environment` is its host already."""
        plugins.load("vector_stores", "pinecone")  # says what to install where it is missing
        from vectorflow.adapters.vector_stores.pinecone import find_host  # noqa: PLC0415

        settings = self._settings
        own = settings.pinecone.key.get_secret_value() if settings.pinecone.key else None
        rests = kept or own
        host = named.environment.removeprefix("https://").removeprefix("http://").rstrip("/")
        if not _PINECONE_HOST.fullmatch(host):
            key = _demanded(named.key or rests)
            if settings.offline:
                check_offline_url(settings.pinecone.control_url)
            control, timeout = settings.pinecone.control_url, settings.worker.store_timeout
            host = await find_host(control, key, named.index_name, timeout=timeout)
        locator = store_locator(f"pinecone://{host}")
        _demanded(named.key or (rests if is_bound_here(settings, locator) else None))
        if settings.offline:
            check_offline_url(locator)
        return Place(store=locator, index=named.collection or "default")

    async def _check_address(self, locator: str, port: int) -> None:
        place = urlsplit(locator)
        await check_store_address(
            place.hostname or "",
            place.port or port,
            allow=self._settings.stores.allow,
            own=self._local.partition("://")[2] or self._local,
            offline=self._settings.offline,
        )


def _demanded(key: str | None) -> str:
    if not key:
        message = "there is no key for Pinecone"
        fix = "send it in the header X-VectorDB-Key, or set PINECONE_KEY on the server"
        raise KeyRefused(message, fix=fix)
    return key


def _qdrant_url(name: str) -> str:
    scheme, separator, rest = name.partition("://")
    if not separator:
        return f"qdrant://{name}"
    if scheme.lower() not in {"http", "https", "qdrant"}:
        message = "environment is not an address of Qdrant"
        raise InvalidInput(message, fix="send its URL, such as https://HOST:6333")
    tls = {"http": "?tls=false", "https": "?tls=true"}.get(scheme.lower(), "")
    return f"qdrant://{rest.rstrip('/')}" + ("" if "tls=" in rest else tls)


def _is_store(name: str, locator: str) -> bool:
    """Whether a URL, or what stands behind its scheme, is the place of this locator."""
    scheme = locator.partition("://")[0]
    url = name if "://" in name else f"{scheme}://{name}"
    try:
        return url.startswith(f"{scheme}:") and store_locator(url) == locator
    except (InvalidInput, ValueError):  # a NUL is in no path
        return False
