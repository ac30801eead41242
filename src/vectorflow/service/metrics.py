"""What the ledger tells those who watch, as metrics."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vectorflow.domain.duties import Trouble
from vectorflow.domain.jobs import BatchKind
from vectorflow.domain.metrics import Sample
from vectorflow.domain.outages import SystemKind
from vectorflow.errors import VectorFlowError
from vectorflow.ledger.backlog import Backlog
from vectorflow.ledger.database import Database
from vectorflow.ledger.overview import Overview, overview
from vectorflow.ledger.reads import DutyView
from vectorflow.service.duties import done_here, trouble_of

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 5.0
"""Who asks in between is told what was read: many who watch cost the ledger no more than one."""

READ_SECONDS = 5.0
"""How long a ledger may take to be there; less than monitoring systems wait."""

AWAY = (Sample("vectorflow_ledger_up", 0),)


class LedgerMetrics:
    """Reads the ledger once for all who ask within some seconds, and one read at a time."""

    def __init__(self, database: Database, *, sends: bool) -> None:
        """Take a ledger; `sends` says whether this process sends wake-ups."""
        self._database = database
        self._sends = sends
        self._reading: asyncio.Task[Sequence[Sample]] | None = None
        self._read_at = 0.0

    async def samples(self) -> Sequence[Sample]:
        """Tell how the ledger stands; of one that is away no more than that."""
        reading = self._reading
        if reading is None or (reading.done() and self._is_old()):
            reading = self._reading = asyncio.create_task(self._read())
        await asyncio.wait({reading}, timeout=READ_SECONDS)
        return reading.result() if reading.done() else AWAY

    async def _read(self) -> Sequence[Sample]:
        try:
            found = await self._database.read(overview)
            duties = done_here(found.duties, sends=self._sends)
            return list(_samples(replace(found, duties=duties)))
        except VectorFlowError as error:
            log.warning("ledger_not_measured", extra={"error": error.code})
            return AWAY
        finally:
            self._read_at = time.monotonic()

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at >= REMEMBERED_SECONDS


def _samples(found: Overview) -> Iterator[Sample]:
    yield Sample("vectorflow_ledger_up", 1)
    yield from _backlog_samples(found.backlog)
    for state, jobs in found.open_jobs.items():
        yield Sample("vectorflow_open_jobs", jobs, {"state": state})
    yield Sample("vectorflow_dead_letters", found.dead_letters)
    for kind in SystemKind:
        yield Sample("vectorflow_outages", found.away.get(kind, 0), {"system": kind})
    for duty in found.duties:
        yield from _duty_samples(duty, found.now)


def _backlog_samples(backlog: Backlog) -> Iterator[Sample]:
    for (lane, kind), line in backlog.lines.items():
        place = _place(lane.name, kind)
        states = {
            "ready": line.ready,
            "leased": line.leased,
            "delayed": line.delayed,
            "paused": line.paused,
        }
        for state, batches in states.items():
            yield Sample("vectorflow_backlog_batches", batches, {**place, "state": state})
        yield Sample("vectorflow_oldest_ready_age_seconds", line.oldest_seconds or 0.0, place)
    yield Sample("vectorflow_waiting_versions", backlog.waiting_versions)
    for reason, jobs in backlog.paused_jobs.items():
        yield Sample("vectorflow_paused_jobs", jobs, {"reason": reason})


def _place(lane: str, kind: BatchKind) -> dict[str, str]:
    return {"lane": lane.lower(), "kind": kind}


def _duty_samples(duty: DutyView, now: float) -> Iterator[Sample]:
    """Whoever tells this is at work, and does duties: one that is late is so for everybody."""
    name = {"duty": duty.name}
    if duty.last_run_at is not None:
        began, ended = duty.last_run_at, now if duty.running else duty.ended_at or now
        yield Sample("vectorflow_duty_last_run_timestamp_seconds", began, name)
        yield Sample("vectorflow_duty_duration_seconds", max(0.0, ended - began), name)
    if duty.ended_at is not None and duty.error is None:
        yield Sample("vectorflow_duty_last_success_timestamp_seconds", duty.ended_at, name)
    found = trouble_of(duty, now)
    for trouble in Trouble:
        labels = {**name, "trouble": trouble}
        yield Sample("vectorflow_duty_trouble", float(trouble is found), labels)
