"""Which keys let requests in, and for whom."""

import hmac
from collections.abc import Sequence
from functools import partial

from vectorflow.api.backend import TenantOf
from vectorflow.ledger import keys
from vectorflow.ledger.database import Database


def key_check(database: Database, own: Sequence[str], tenant: str) -> TenantOf:
    """Make the check of keys: those of the settings, then those that the ledger issued.

    Hashes are compared, so that the time taken tells neither length nor content.
    """
    digests = [keys.key_digest(key) for key in own]

    async def tenant_of(key: str) -> str | None:
        digest = keys.key_digest(key)
        same = [hmac.compare_digest(digest, known) for known in digests]
        if any(same):
            return tenant
        return await database.read(partial(keys.tenant_of, key=key))

    return tenant_of
