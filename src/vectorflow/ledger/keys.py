"""API keys: only their SHA-256 is kept; they are long and random, so a plain hash is enough.

A key is good until it is revoked or expires, by the database's clock. A revocation may lie ahead:
while keys are rotated, the old one is good for some more hours.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, insert, or_, select, update

from vectorflow.domain.access import Access, KeyScope, check_tenant, scopes_of
from vectorflow.errors import Conflict, InvalidInput, NotFound
from vectorflow.ledger import clock
from vectorflow.ledger.new_batches import inserted_id
from vectorflow.ledger.tables import api_keys

LONGEST_NAME = 64
LONGEST_ID = 18
"""Digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made; it is never to be seen again."""

    id: int
    name: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key as people may see it."""

    id: int
    tenant: str
    name: str
    scopes: tuple[KeyScope, ...]
    state: str
    """`good`, `ending` while a later revocation is set, `expired` or `revoked`."""
    created_at: float
    expires_at: float | None
    revoked_at: float | None


def key_digest(key: str) -> str:
    """Hash a key for keeping and comparing."""
    return hashlib.sha256(key.encode()).hexdigest()


def issue_key(
    connection: Connection,
    *,
    tenant: str,
    name: str,
    scopes: Collection[KeyScope] | None = None,
    expires_in: float | None = None,
) -> NewKey:
    """Make a key, good for `expires_in` seconds, and keep its hash. No scopes are all.

    Raises:
        InvalidInput: The name cannot be one, of a key or of a tenant.
        Conflict: A good key of the tenant has this name.
    """
    check_tenant(tenant)
    _check_name(name)
    if connection.execute(_of(tenant, name).where(_is_good())).first():
        message = f"there is a key named {name!r} already"
        raise Conflict(message, fix="rotate it, or choose another name")
    kept = None if scopes is None else sorted(scopes)
    expires_at = None if expires_in is None else clock.now() + expires_in
    return _insert(connection, tenant, name, kept, expires_at)


def issue_first_key(connection: Connection, *, tenant: str, name: str) -> str | None:
    """Make a key where there is none; None where there is one already."""
    if has_keys(connection, tenant=tenant):
        return None
    return issue_key(connection, tenant=tenant, name=name).key


def rotate_key(connection: Connection, *, tenant: str, which: str, overlap: float) -> NewKey:
    """Make a key like another one, which ends after `overlap` seconds; `which` is a name or an id.

    Raises:
        NotFound: No good key is called so, or it is ending already.
        Conflict: Several are.
    """
    found = connection.execute(
        _of(tenant, which).where(_is_good(), api_keys.c.revoked_at.is_(None)).with_for_update()
    ).all()
    if not found:
        raise _no_key(which)
    if len(found) > 1:
        ids = ", ".join(str(row.id) for row in found)
        message = f"{len(found)} keys are named {which!r}"
        raise Conflict(message, fix=f"rotate one of them by its id: {ids}")
    [old] = found
    _revoke(connection, found, after=overlap)
    return _insert(connection, tenant, old.name, old.scopes, old.expires_at)


def revoke_keys(connection: Connection, *, tenant: str, which: str) -> list[int]:
    """End all good keys of a name, or the one with this id, at once; tells their ids.

    Raises:
        NotFound: No good key is called so.
    """
    found = connection.execute(_of(tenant, which).where(_is_good()).with_for_update()).all()
    if not found:
        raise _no_key(which)
    _revoke(connection, found, after=0.0)
    return [row.id for row in found]


def key_list(connection: Connection, *, tenant: str | None = None) -> list[KeyView]:
    """List all keys, of a tenant or of everybody, also those that are no longer good."""
    statement = select(api_keys, clock.now().label("now")).order_by(api_keys.c.id)
    if tenant is not None:
        statement = statement.where(api_keys.c.tenant == tenant)
    return [_view(row) for row in connection.execute(statement)]


def has_keys(connection: Connection, *, tenant: str | None = None) -> bool:
    """Whether any key is good, of a tenant or of anybody."""
    good = select(api_keys.c.id).where(_is_good())
    if tenant is not None:
        good = good.where(api_keys.c.tenant == tenant)
    return connection.execute(good.limit(1)).first() is not None


def access_of(connection: Connection, key: str) -> Access | None:
    """What a key may do; None for keys that are unknown, expired or revoked."""
    digest = key_digest(key)
    row = connection.execute(
        select(api_keys).where(api_keys.c.digest == digest, _is_good())
    ).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return Access(tenant=row.tenant, scopes=scopes_of(row.scopes))


def _insert(
    connection: Connection,
    tenant: str,
    name: str,
    scopes: Sequence[str] | None,
    expires_at: float | ColumnElement[float] | None,
) -> NewKey:
    key = f"vf_{secrets.token_urlsafe(32)}"
    made = connection.execute(
        insert(api_keys).values(
            tenant=tenant,
            name=name,
            digest=key_digest(key),
            created_at=clock.now(),
            scopes=scopes,
            expires_at=expires_at,
        )
    )
    return NewKey(id=inserted_id(made.inserted_primary_key), name=name, key=key)


def _revoke(connection: Connection, rows: Sequence[Row[Any]], *, after: float) -> None:
    ids = [row.id for row in rows]
    end = {"revoked_at": clock.now() + after}
    connection.execute(update(api_keys).where(api_keys.c.id.in_(ids)).values(end))


def _is_good() -> ColumnElement[bool]:
    ends = (api_keys.c.revoked_at, api_keys.c.expires_at)
    return and_(*(or_(end.is_(None), end > clock.now()) for end in ends))


def _of(tenant: str, which: str) -> Select[Any]:
    """Keys of a name, or the one with an id: a name is never a number."""
    is_id = which.isdecimal() and len(which) <= LONGEST_ID
    called = api_keys.c.id == int(which) if is_id else api_keys.c.name == which
    return select(api_keys).where(api_keys.c.tenant == tenant, called).order_by(api_keys.c.id)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or name.isdecimal():
        message = "that cannot be the name of a key"
        fix = f"use at most {LONGEST_NAME} printable characters that are no number"
        raise InvalidInput(message, fix=fix)


def _no_key(which: str) -> NotFound:
    message = f"there is no good key {which!r}"
    return NotFound(message, fix="`vectorflow keys list` shows all, also those that ended")


def _view(row: Row[Any]) -> KeyView:
    scopes = scopes_of(row.scopes)
    return KeyView(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        scopes=(KeyScope.ADMIN,) if KeyScope.ADMIN in scopes else tuple(sorted(scopes)),
        state=_state(row),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def _state(row: Row[Any]) -> str:
    if row.revoked_at is not None and row.revoked_at <= row.now:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= row.now:
        return "expired"
    return "good" if row.revoked_at is None else "ending"
