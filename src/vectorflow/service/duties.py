"""How the recurring duties get on: for people, and for those who watch."""

from collections.abc import Iterable

from vectorflow.domain.duties import Trouble
from vectorflow.ledger.reads import DutyView

SWEEP = "sweep"
"""The duty of those who send wake-ups."""

LEAST_SECONDS = 60.0
"""Duties that come more often are looked at as if they came every so many seconds."""

PERIODS = 3
"""Periods that a duty may be late, or take, before something is wrong with it."""


def done_here(duties: Iterable[DutyView], *, sends: bool) -> list[DutyView]:
    """Leave out the sweep where no wake-ups are sent: a ledger remembers it from an old broker."""
    return [duty for duty in duties if sends or duty.name != SWEEP]


def trouble_of(duty: DutyView, now: float) -> Trouble | None:
    """Say what keeps a duty from being done; None if it is in time."""
    if duty.error:
        return Trouble.FAILED
    patience = PERIODS * max(duty.every or 0.0, LEAST_SECONDS)
    if duty.running and unended_seconds(duty, now) > patience:
        return Trouble.STUCK
    return Trouble.OVERDUE if now - duty.next_run_at > patience else None


def unended_seconds(duty: DutyView, now: float) -> float:
    """Tell for how long no run has ended."""
    return now - (duty.ended_at or duty.last_run_at or now)
