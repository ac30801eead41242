"""What an API key may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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


def scopes_of(names: Iterable[str] | None) -> frozenset[KeyScope]:
    """Read scopes as they are kept; None is all. Those of a later release give nothing here."""
    return ALL if names is None else frozenset(KeyScope(name) for name in names if name in ALL)
