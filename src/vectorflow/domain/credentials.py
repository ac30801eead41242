"""What a job may be given to reach others with: never shown, logged or kept unsealed."""

import hashlib
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """Came with a request, or were stored for a tenant; None leaves a thing to the settings."""

    embedding_key: str | None = None
    store_key: str | None = None
    webhook_url: str | None = None
    """Whole, since its path or query may be a secret."""
    webhook_key: str | None = None
    validation_url: str | None = None

    def __repr__(self) -> str:
        held = [item.name for item in fields(self) if getattr(self, item.name)]
        return f"Credentials({', '.join(held)})"

    def __bool__(self) -> bool:
        return any(getattr(self, item.name) for item in fields(self))

    def over(self, other: "Credentials") -> "Credentials":
        """Take what is missing here from `other`."""
        names = [item.name for item in fields(self)]
        return Credentials(**{name: getattr(self, name) or getattr(other, name) for name in names})


NO_CREDENTIALS = Credentials()


def account_of(key: str | None) -> str:
    """Name an account without telling its key: equal keys have equal names; "" is the server's."""
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""
