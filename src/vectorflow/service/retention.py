"""The duty that keeps the ledger small: rows that nobody needs are deleted, a slice at a time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial

from vectorflow.ledger import retention
from vectorflow.ledger.database import Database
from vectorflow.ledger.retention import Retention, Rule

PAUSE_SECONDS = 0.05
"""After each transaction that deletes, so that others get in between."""


async def forget(database: Database, kept: Retention) -> str:
    """Delete what is older than `kept` says; whatever interrupts it, the next run goes on.

    Raises:
        Unavailable: The database does not answer.
    """
    gone = Counter[str](keys=await database.write(partial(retention.delete_keys, kept=kept)))
    gone["requests"] = await database.write(partial(retention.delete_retry_requests, kept=kept))
    last = 0
    while stretch := await database.read(partial(retention.next_jobs, after=last, kept=kept)):
        for rule in retention.RULES if stretch.ended else ():
            gone[rule.name] += await _end_all(database, rule, stretch.ended, kept)
        last = stretch.last
    told = [f"{name} {count:,}" for name, count in gone.items() if count]
    return f"let go of {', '.join(told) or 'nothing'}"


async def _end_all(database: Database, rule: Rule, of: Sequence[int], kept: Retention) -> int:
    """Apply a rule to jobs until it finds nothing more."""
    total = 0
    while ids := await database.read(rule.finding(of, kept)):
        ended = await database.write(rule.ending(ids))
        if not ended:
            break
        total += ended
        await asyncio.sleep(PAUSE_SECONDS)
    return total
