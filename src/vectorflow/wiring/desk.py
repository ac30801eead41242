"""Parts -> what the API serves workers over HTTP with: they know a URL and a key, and no more."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from vectorflow.api.desk import Desk, Loan
from vectorflow.domain.credentials import Credentials, account_of
from vectorflow.domain.jobs import BatchKind
from vectorflow.ledger.held import Held
from vectorflow.ports.vector_store import VectorStore
from vectorflow.ports.work import Lease
from vectorflow.settings import Settings, redacted
from vectorflow.wiring.credentials import kept_store_key, open_credentials
from vectorflow.wiring.parts import LOCAL_SCHEMES, Parts
from vectorflow.wiring.recipes import LOOPBACK

LIBPQ = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGUSER", "PGSSLCERT")
"""Variables by which PostgreSQL's library knows this process where a URL has no password."""


def make_desk(parts: Parts) -> Desk:
    """Gather what workers over HTTP are served with."""

    def lend(lease: Lease) -> Loan:
        return loan_of(parts.settings, parts.store_locator(), lease)

    async def store(held: Held) -> VectorStore:
        pipeline = held.pipeline
        given = open_credentials(parts.settings, parts.secrets, held.sealed, pipeline)
        return await parts.store(pipeline.store, given.store_key)

    return Desk(
        tenant=parts.tenant,
        database=parts.database,
        blobs=parts.blobs,
        work=parts.work,
        lend=lend,
        store=store,
    )


def loan_of(
    settings: Settings, own_store: str, lease: Lease, environ: Mapping[str, str] = os.environ
) -> Loan:
    """Lend a worker what this batch takes, and of the credentials no others.

    What the settings of this server hold is lent too, so that workers need none of their own.
    """
    given, locator = lease.job.credentials, lease.pipeline.store
    wanted = Credentials()
    stores: Mapping[str, str | None] = {}
    providers: Mapping[str, str] = {}
    if lease.kind is BatchKind.EXTRACT:
        wanted = Credentials(validation_url=given.validation_url)
    elif lease.kind is BatchKind.EMBED:
        wanted = replace(given, validation_url=None, store_key=None)
        wanted, providers = _provider(settings, lease.pipeline.embedder, wanted)
    if lease.kind is not BatchKind.EXTRACT and not lease.pipeline.delivers:
        stores = {locator: None}
        url = settings.store_url if locator == own_store else locator
        if is_lent(settings, locator, own_store) and is_whole(url, environ):
            stores = {locator: url}
            wanted = replace(wanted, store_key=given.store_key or kept_store_key(settings, locator))
        elif given.store_key:  # a name for the key: records of two accounts share no call
            wanted = replace(wanted, store_key=account_of(given.store_key))
    lent = replace(lease, job=replace(lease.job, credentials=wanted))
    open_urls = all(redacted(url) == url for url in stores.values() if url)
    return Loan(
        lease=lent, stores=stores, providers=providers, secret=bool(wanted) or not open_urls
    )


def is_lent(settings: Settings, locator: str, own_store: str) -> bool:
    """Whether workers go to a store themselves.

    Hosts that a request named stay with this server, whose rules judge where their names lead; of
    Pinecone's only Pinecone decides that.
    """
    is_own = locator == own_store
    trusted = settings.stores.lend if is_own else locator.startswith("pinecone://")
    return trusted and is_reached_by_others(locator)


def is_whole(url: str, environ: Mapping[str, str]) -> bool:
    """Whether a URL gets others as far as this process, whose environment may hold the password."""
    place = urlsplit(url)
    if not place.scheme.startswith("postgres"):
        return True
    password = place.password or parse_qs(place.query).get("password")
    return bool(password) or not any(map(environ.get, LIBPQ))


def is_reached_by_others(locator: str) -> bool:
    """Whether other machines reach a store by its address: it is not a path, nor on loopback."""
    place = urlsplit(locator)
    host = place.hostname or ""
    return bool(host) and place.scheme not in LOCAL_SCHEMES and not is_here(host)


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return host in LOOPBACK or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _provider(
    settings: Settings, embedder: str, given: Credentials
) -> tuple[Credentials, Mapping[str, str]]:
    if not embedder.startswith("openai:"):
        return given, {}
    kept = settings.openai.key
    key = given.embedding_key or (kept.get_secret_value() if kept else None)
    return replace(given, embedding_key=key), {"openai": settings.openai.base_url}
