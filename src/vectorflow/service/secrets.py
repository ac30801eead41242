"""Credentials that rest: what came with requests, and what tenants keep here by plugin."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial

from vectorflow.domain.credentials import Credentials
from vectorflow.domain.documents import canonical_json
from vectorflow.errors import InvalidInput, Unsealable
from vectorflow.ledger import secrets
from vectorflow.ledger.database import Database
from vectorflow.ledger.secrets import SealedText
from vectorflow.ports.secret_store import SecretStore

LONGEST_SECRET = 4096
GROUP = 200
"""Sealed texts that are replaced in one transaction."""

_KEY = re.compile(r"[!-~]+")
"""What a header can carry without being misread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """What became of all that is sealed."""

    resealed: int
    unsealable: int
    """Sealed with keys that are not at hand, and left as they are."""


def seal_credentials(store: SecretStore, tenant: str, credentials: Credentials) -> str:
    """Seal what came with a request; another tenant's request cannot be given it.

    Raises:
        InvalidSetting: There is no key to seal with.
    """
    held = {name: value for name, value in asdict(credentials).items() if value is not None}
    return store.seal(json.dumps(held), context=_context(tenant, None))


def unseal_credentials(store: SecretStore, tenant: str, sealed: str) -> Credentials:
    """Open what `seal_credentials` sealed.

    Raises:
        Unsealable: It was sealed with a key that is not at hand.
    """
    held = json.loads(store.unseal(sealed, context=_context(tenant, None)))
    known = {item.name for item in fields(Credentials)}
    return Credentials(**{name: value for name, value in held.items() if name in known})


def seal_secret(store: SecretStore, tenant: str, name: str, secret: str) -> str:
    """Seal the key of a plugin, under whose name alone it opens again.

    Raises:
        InvalidInput: It cannot be a key.
        InvalidSetting: There is no key to seal with.
    """
    if not _KEY.fullmatch(secret) or len(secret) > LONGEST_SECRET:
        message = f"the key of {name!r} is empty, too long, or holds what no key holds"
        raise InvalidInput(message, fix="give one line of ASCII without spaces")
    return store.seal(secret, context=_context(tenant, name))


def unseal_secret(store: SecretStore, tenant: str, name: str, sealed: str) -> str:
    """Open what `seal_secret` sealed.

    Raises:
        Unsealable: It was sealed with a key that is not at hand.
    """
    return store.unseal(sealed, context=_context(tenant, name))


async def keep_secret(
    database: Database, store: SecretStore, *, tenant: str, name: str, secret: str
) -> None:
    """Seal the key of a plugin and keep it in the place of an earlier one.

    Raises:
        InvalidInput: It cannot be a key.
        InvalidSetting: There is no key to seal with.
    """
    sealed = seal_secret(store, tenant, name, secret)
    keep = partial(secrets.keep_secret, tenant=tenant, name=name, sealed=sealed)
    await database.write(keep)


async def reseal_all(database: Database, store: SecretStore) -> Resealed:
    """Seal with the newest key all that rests here, so that older keys can go."""
    held = await database.read(secrets.sealed_texts)
    resealed = opened = 0
    for start in range(0, len(held), GROUP):
        changes = list(_resealed(store, held[start : start + GROUP]))
        opened += len(changes)
        resealed += await database.write(partial(secrets.reseal, changes=changes))
    return Resealed(resealed=resealed, unsealable=len(held) - opened)


def _resealed(store: SecretStore, texts: Sequence[SealedText]) -> Iterator[tuple[SealedText, str]]:
    for text in texts:
        context = _context(text.tenant, text.name)
        try:
            opened = store.unseal(text.sealed, context=context)
        except Unsealable:
            continue
        yield text, store.seal(opened, context=context)


def _context(tenant: str, name: str | None) -> str:
    """Bind what is sealed to its tenant and plugin; no name is for credentials of requests."""
    return canonical_json(["credentials", tenant] if name is None else ["secret", tenant, name])
