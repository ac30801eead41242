"""Fair shares: where in a line the batches of a tenant stand, so that tenants share by weight.

Start-time fair queueing. A line has a virtual time that goes on as its batches are handed out, in
order of theirs. A batch begins where the one of the same tenant before it ends, or now, if that is
later: who was idle has saved nothing up, and who sent a flood waits behind itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from vectorflow.domain.jobs import Lane

FULL_DOCUMENTS = 256
FULL_BYTES = 4 << 20
FULL_ROWS = 4096
"""What makes a batch full, of any of these; its cost is 1 then."""

ONE_DOCUMENT = 1 / FULL_DOCUMENTS
"""What the smallest batch costs."""

LIGHTEST, HEAVIEST = 0.01, 100.0
"""Weights that a tenant may have; 1 is usual."""

INTERACTIVE_BYTES = 4 << 20
"""A longer document takes so long by itself that nobody waits for it."""

BULK_SHARE = 1 / 8
"""Of what is claimed while interactive work would fill it all."""


@dataclass(frozen=True, slots=True)
class Share:
    """How far a tenant has come in a line, in its virtual time."""

    began: float
    """Where its last batch begins."""
    ends: float
    """Where its next one begins at the earliest."""


NO_SHARE = Share(0.0, 0.0)


def placed(
    costs: Sequence[float], *, share: Share, now: float, weight: float
) -> tuple[Sequence[float], Share]:
    """Give the virtual times of one batch or more, in order, and the share of their tenant then."""
    start = max(now, share.ends)
    times = list(accumulate((cost / weight for cost in costs), initial=start))
    return times[:-1], Share(began=times[-2], ends=times[-1])


def refunded(share: Share, last: float | None) -> Share:
    """Give the share of a tenant whose last batches were cancelled, or wait for a paused job.

    `last` is the virtual time of the last one that waits; nothing is charged for those after it.
    """
    return NO_SHARE if last is None else Share(last, last + share.ends - share.began)


def extract_cost(lengths: Iterable[int]) -> float:
    """Charge for extracting documents of so many bytes."""
    known = list(lengths)
    return max(1, len(known)) * ONE_DOCUMENT + sum(known) / FULL_BYTES


def embed_cost(documents: int, rows: int) -> float:
    """Charge for embedding so many chunks of so many documents."""
    return documents * ONE_DOCUMENT + rows / FULL_ROWS


def lane_of(size: int) -> Lane:
    """Choose the lane of one document that somebody sends and waits for, by its bytes."""
    return Lane.INTERACTIVE if size <= INTERACTIVE_BYTES else Lane.BULK


def kept_for_bulk(limit: int, chance: float) -> int:
    """Give the places for bulk among so many; `chance` in [0, 1) decides on what is left over."""
    return int(limit * BULK_SHARE + chance)
