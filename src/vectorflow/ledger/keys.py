"""API keys: only their SHA-256 is kept; they are long and random, so a plain hash is enough."""

import hashlib
import hmac
import secrets

from sqlalchemy import Connection, insert, select

from vectorflow.ledger import clock
from vectorflow.ledger.tables import api_keys


def key_digest(key: str) -> str:
    """Hash a key for keeping and comparing."""
    return hashlib.sha256(key.encode()).hexdigest()


def issue_key(connection: Connection, *, tenant: str, name: str) -> str:
    """Make a key and keep its hash; the key itself is never to be seen again."""
    key = f"vf_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(api_keys).values(
            tenant=tenant, name=name, digest=key_digest(key), created_at=clock.now()
        )
    )
    return key


def issue_first_key(connection: Connection, *, tenant: str, name: str) -> str | None:
    """Make a key where there is none; None where there is one already."""
    if has_keys(connection, tenant=tenant):
        return None
    return issue_key(connection, tenant=tenant, name=name)


def has_keys(connection: Connection, *, tenant: str) -> bool:
    """Whether any key was issued."""
    found = select(api_keys.c.id).where(
        api_keys.c.tenant == tenant, api_keys.c.revoked_at.is_(None)
    )
    return connection.execute(found.limit(1)).first() is not None


def tenant_of(connection: Connection, key: str) -> str | None:
    """The tenant a key belongs to; None for unknown and revoked keys."""
    digest = key_digest(key)
    row = connection.execute(
        select(api_keys.c.tenant, api_keys.c.digest).where(
            api_keys.c.digest == digest, api_keys.c.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return str(row.tenant)
