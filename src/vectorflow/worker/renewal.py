"""Leases are renewed by a thread of its own, so that nothing on the event loop can delay it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from vectorflow.errors import Unavailable, VectorFlowError
from vectorflow.ports.work import Lease, Work

log = logging.getLogger(__name__)

SAFE_SHARE = 0.8
"""Share of a lease after which work stops if it could not be renewed."""

LOOKS = 10
"""At what is held, during a lease."""

LONGEST_PAUSE = 3.0
"""Seconds between two looks; leases may come meanwhile."""


@dataclass(slots=True)
class _Kept:
    """A lease we hold, and when it was last known to be ours (monotonic seconds)."""

    lease: Lease
    renewed_at: float
    lost: Callable[[], None]

    @property
    def ends_at(self) -> float:
        """When work under it stops, unless it is renewed before."""
        return self.renewed_at + SAFE_SHARE * self.lease.seconds


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
        with asyncio.Runner() as runner:
            while not self._stop.wait(self._pause()):
                self._give_up_old()
                self._renew(runner)

    def _pause(self) -> float:
        """Seconds until a lease may have to be renewed, or given up."""
        now = time.monotonic()
        with self._lock:
            waits = [
                min(kept.lease.seconds / LOOKS, kept.ends_at - now) for kept in self._kept.values()
            ]
        return max(0.0, min([LONGEST_PAUSE, *waits]))

    def _renew(self, runner: asyncio.Runner) -> None:
        asked_at = time.monotonic()
        with self._lock:
            due = [
                kept
                for kept in self._kept.values()
                if asked_at - kept.renewed_at >= kept.lease.seconds / 3
            ]
        if not due:
            return
        seconds = min(kept.ends_at for kept in due) - asked_at
        try:
            renewed = runner.run(self._renewed([kept.lease for kept in due], seconds))
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

    async def _renewed(self, leases: list[Lease], seconds: float) -> set[int]:
        """Ask, until the first of these leases has to be given up anyway."""
        try:
            async with asyncio.timeout(seconds):
                return {lease.batch for lease in await self._work.renew(leases)}
        except TimeoutError:
            raise Unavailable("the ledger took too long to renew leases") from None

    def _give_up_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            old = [kept for kept in self._kept.values() if now >= kept.ends_at]
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
