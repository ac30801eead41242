"""Credentials: of a request, of a tenant, of the settings; the first that is there is used.

What rests here or in the settings is bound to the places it was meant for: a request that names
another place has to bring its own.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from vectorflow.adapters.secret_stores.aesgcm import AesGcmSecretStore
from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials
from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger.secrets import Sealed
from vectorflow.ports.secret_store import SecretStore
from vectorflow.service.secrets import unseal_credentials, unseal_secret
from vectorflow.settings import Settings
from vectorflow.wiring.recipes import LOCAL_STORE, LOOPBACK, store_locator

KEYED_STORES = ("pinecone", "qdrant")
"""Stores that take a key; others have what they need in their URL."""


def make_secrets(settings: Settings) -> SecretStore:
    """Make what seals credentials."""
    key = settings.secrets.key
    keys = key.get_secret_value() if key else None
    return AesGcmSecretStore(keys, settings.data_dir / "secret.key")


def open_credentials(
    settings: Settings, secrets: SecretStore, sealed: Sealed, pipeline: Pipeline
) -> Credentials:
    """Open what a batch may use; what is missing in it is left to the settings.

    Raises:
        Unsealable: It was sealed with a key that is not at hand.
    """
    given = NO_CREDENTIALS
    if sealed.job is not None:
        given = unseal_credentials(secrets, sealed.tenant, sealed.job)
    return completed(settings, secrets, sealed, pipeline.embedder, pipeline.store, given)


def for_store(store: str, given: Credentials) -> Credentials:
    """Drop the key of a store that takes none: many clients send one, whatever the store is."""
    keyed = store.partition("://")[0] in KEYED_STORES
    return given if keyed else replace(given, store_key=None)


def completed(
    settings: Settings,
    secrets: SecretStore,
    sealed: Sealed,
    embedder: str,
    store: str,
    given: Credentials = NO_CREDENTIALS,
) -> Credentials:
    """Add what a tenant keeps here for an embedder, and for a store it may be sent to.

    What a request brought itself is not opened: it may be the way out when that no longer can be.

    Raises:
        Unsealable: What is needed was sealed with a key that is not at hand.
    """

    def kept(name: str) -> str | None:
        text = sealed.tenants.get(name)
        return None if text is None else unseal_secret(secrets, sealed.tenant, name, text)

    given, scheme = for_store(store, given), store.partition("://")[0]
    if not given.embedding_key:
        given = replace(given, embedding_key=kept(embedder.partition(":")[0]))
    if not given.store_key and is_bound_here(settings, store):
        given = replace(given, store_key=kept(scheme))
    return given


def kept_store_key(settings: Settings, locator: str) -> str | None:
    """Give the key of the settings for a store, if it is one that the key was meant for."""
    keys = {"pinecone": settings.pinecone.key, "qdrant": settings.qdrant.key}
    key = keys.get(locator.partition("://")[0])
    return key.get_secret_value() if key and is_bound_here(settings, locator) else None


def is_bound_here(
    settings: Settings, locator: str, environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether keys that rest here may be sent to this store.

    Pinecone's hosts are all Pinecone's, but this machine's only where its control plane is here
    too; of others only the configured store and LOCAL_VECTOR_DB.
    """
    scheme = locator.partition("://")[0]
    if scheme not in KEYED_STORES:
        return False
    own = {store_locator(settings.store_url)}
    if scheme == "pinecone":
        hosts = [urlsplit(url).hostname for url in (locator, settings.pinecone.control_url)]
        return locator in own or hosts[0] not in LOOPBACK or hosts[1] in LOOPBACK
    if host := environ.get(LOCAL_STORE):
        own.add(local_store(scheme, host))
    return locator in own


def local_store(scheme: str, host: str) -> str:
    """Give the locator of the store that LOCAL_VECTOR_DB names: a host reached without TLS."""
    given, separator, rest = host.partition("://")
    tls = "true" if separator and given == "https" else "false"
    url = f"{scheme}://{(rest if separator else host).rstrip('/')}"
    if scheme == "qdrant" and "tls=" not in url:
        url += f"?tls={tls}"
    return store_locator(url)
