"""Who asks, and what an API key may do."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from vectorflow.errors import InvalidInput

DEFAULT_TENANT = "default"
"""Whose everything is for which nobody says otherwise."""

LONGEST_TENANT = 64
"""Characters of a tenant's name."""


class KeyScope(StrEnum):
    """A kind of request. `admin` includes the others."""

    EMBED = "embed"
    READ = "read"
    WORK = "work"
    ADMIN = "admin"


ALL = frozenset(KeyScope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose a request is, and what it may ask for."""

    tenant: str
    scopes: frozenset[KeyScope] = ALL

    def may(self, scope: KeyScope) -> bool:
        """Whether the key has this scope, or all."""
        return scope in self.scopes or KeyScope.ADMIN in self.scopes


def check_tenant(name: str) -> None:
    """Refuse what cannot be the name of a tenant.

    Raises:
        InvalidInput: Says what can.
    """
    if not 0 < len(name) <= LONGEST_TENANT or not name.isprintable() or name != name.strip():
        message = f"no tenant is called {name[:LONGEST_TENANT]!r}"
        fix = f"give 1 to {LONGEST_TENANT} printable characters, with no blank at either end"
        raise InvalidInput(message, fix=fix)


def tenant_option(tenant: str) -> tuple[str, ...]:
    """Give what a command line needs besides, to be about a tenant."""
    return () if tenant == DEFAULT_TENANT else ("--tenant", tenant)


def command_for(tenant: str, words: str) -> str:
    """Write a command about a tenant as messages quote it."""
    return f"`{' '.join(['vectorflow', words, *map(shlex.quote, tenant_option(tenant))])}`"


def scopes_of(names: Iterable[str] | None) -> frozenset[KeyScope]:
    """Read scopes as they are kept; None is all. Those of a later release give nothing here."""
    return ALL if names is None else frozenset(KeyScope(name) for name in names if name in ALL)
