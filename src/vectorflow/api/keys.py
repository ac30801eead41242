"""Which keys let requests in, and for whom."""

import hmac
import time
from collections.abc import Callable, Sequence
from functools import partial

from vectorflow.api.backend import AccessOf
from vectorflow.domain.access import Access
from vectorflow.ledger import keys
from vectorflow.ledger.database import Database

REMEMBERED_SECONDS = 3.0
"""A key that was good is good for so long without a look at the ledger: thus an upload costs no
read, and a key that ends is still let in for as long."""

REMEMBERED_KEYS = 1024


def key_check(
    database: Database,
    own: Sequence[str],
    tenant: str,
    clock: Callable[[], float] = time.monotonic,
) -> AccessOf:
    """Make the check of keys: those of the settings, then those that the ledger issued.

    Hashes are compared, so that the time taken tells neither length nor content.
    """
    digests = [keys.key_digest(key) for key in own]
    recent = _Recent(clock)

    async def access_of(key: str) -> Access | None:
        digest = keys.key_digest(key)
        same = [hmac.compare_digest(digest, known) for known in digests]
        if any(same):
            return Access(tenant=tenant)
        if (known := recent.get(digest)) is not None:
            return known
        access = await database.read(partial(keys.access_of, key=key))
        if access is not None:
            recent.put(digest, access)
        return access

    return access_of


class _Recent:
    """Good keys of the last seconds, by their hashes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Access]] = {}

    def get(self, digest: str) -> Access | None:
        ends, access = self._known.get(digest, (0.0, None))
        return access if self._clock() < ends else None

    def put(self, digest: str, access: Access) -> None:
        self._known.pop(digest, None)
        while len(self._known) >= REMEMBERED_KEYS:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[digest] = (self._clock() + REMEMBERED_SECONDS, access)
