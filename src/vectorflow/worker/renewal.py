"""Leases are renewed by a thread of its own, so that nothing on the event loop can delay it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vectorflow.errors import VectorFlowError
from vectorflow.ports.work import Lease, Work

log = logging.getLogger(__name__)

SAFE_SHARE = 0.8
"""Share of a lease after which work stops if it could not be renewed."""


@dataclass(slots=True)
class _Kept:
    """A lease we hold, and when it was last known to be ours (monotonic seconds)."""

    lease: Lease
    renewed_at: float
    lost: Callable[[], None]


class LeaseKeeper:
    """Renews the leases it is told of, and tells their holders when they are lost."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._kept: dict[int, _Kept] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-renewal", daemon=True)

    def start(self) -> None:
        """Start renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; leases still held run out by themselves."""
        self._stop.set()
        self._thread.join()

    def keep(self, lease: Lease, lost: Callable[[], None]) -> None:
        """Renew a lease from now on; `lost` is called once, from any thread, if it is ours no more.

        An older try of the same batch, which may still be under way, is told that it is over.
        """
        with self._lock:
            older = self._kept.get(lease.batch)
            self._kept[lease.batch] = _Kept(lease, time.monotonic(), lost)
        if older is not None:
            _tell(older)

    def drop(self, lease: Lease) -> None:
        """Renew a lease no more; that of a later try of its batch is not meant."""
        with self._lock:
            kept = self._kept.get(lease.batch)
            if kept is not None and kept.lease.epoch == lease.epoch:
                del self._kept[lease.batch]

    def _run(self) -> None:
        while not self._stop.wait(self._pause()):
            self._renew()
            self._give_up_old()

    def _pause(self) -> float:
        with self._lock:
            shortest = min((kept.lease.seconds for kept in self._kept.values()), default=3.0)
        return min(shortest / 3, 3.0)

    def _renew(self) -> None:
        with self._lock:
            due = [
                kept
                for kept in self._kept.values()
                if time.monotonic() - kept.renewed_at >= kept.lease.seconds / 3
            ]
        if not due:
            return
        asked_at = time.monotonic()
        try:
            renewed = asyncio.run(self._renewed([kept.lease for kept in due]))
        except VectorFlowError as error:
            log.warning("leases_not_renewed", extra={"error": error.code, "leases": len(due)})
            return
        except Exception:  # a fault of ours must not end the renewal of all other leases
            log.exception("leases_not_renewed", extra={"leases": len(due)})
            return
        for kept in due:
            if kept.lease.batch in renewed:
                kept.renewed_at = asked_at
            else:
                self._lose(kept)

    async def _renewed(self, leases: list[Lease]) -> set[int]:
        return {lease.batch for lease in await self._work.renew(leases)}

    def _give_up_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            old = [
                kept
                for kept in self._kept.values()
                if now - kept.renewed_at > SAFE_SHARE * kept.lease.seconds
            ]
        for kept in old:
            self._lose(kept)

    def _lose(self, kept: _Kept) -> None:
        with self._lock:
            if self._kept.get(kept.lease.batch) is not kept:
                return  # it has ended meanwhile, or a later try has its place
            del self._kept[kept.lease.batch]
        _tell(kept)


def _tell(kept: _Kept) -> None:
    log.warning("lease_lost", extra={"batch_id": kept.lease.batch})
    kept.lost()
