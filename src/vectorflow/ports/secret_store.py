"""The port `secret_store`: credentials that rest are sealed."""

from abc import abstractmethod
from typing import Protocol


class SecretStore(Protocol):
    """Seals and opens small secrets. Quick, without network; thread-safe."""

    @abstractmethod
    def seal(self, secret: str, *, context: str) -> str:
        """Seal a secret; only the same context opens it again. Printable ASCII.

        Raises:
            InvalidSetting: There is no key to seal with; the fix says how to set one.
        """
        ...

    @abstractmethod
    def unseal(self, sealed: str, *, context: str) -> str:
        """Open what was sealed in this context, with the current key or an older one.

        Raises:
            Unsealable: The key is another, or what was sealed was changed or moved.
        """
        ...
