"""The faults of a storm: what strikes, how often, and what has struck.

Everything is drawn from the seed. The moments differ from run to run all the same, since the
processes are real.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, or_, select

from tests.storm.site import CONCURRENCY, Process, Site
from tests.storm.witness import pid_of
from vectorflow.adapters.embedders.openai import REQUEST_TEXTS
from vectorflow.domain.jobs import BatchKind, BatchState
from vectorflow.errors import VectorFlowError
from vectorflow.ledger.tables import batches, versions
from vectorflow.ports.queue import ALL

IN_FLIGHT = CONCURRENCY * REQUEST_TEXTS
"""Texts that one worker has under way at the provider, at most."""

FREEZE_EVERY = 15.0
FIRST_SHARE = 0.5
"""Of its interval after which a fault strikes first."""

GATHER_SECONDS = 1.5
AWAY_AT = (0.15, 0.4)
"""Shares of the storm's seconds between which the store goes away and the broker is purged."""


@dataclass(slots=True)
class Fault:
    """Something that strikes again and again, or once."""

    strike: Callable[[], None]
    due: float
    every: float | None


@dataclass(slots=True)
class Weather:
    """Strikes when it is time; `tick` is to be called often."""

    site: Site
    chance: random.Random
    struck: Counter[str] = field(default_factory=Counter[str])
    frozen_pids: set[int] = field(default_factory=set[int])
    killed_pids: set[int] = field(default_factory=set[int])
    gave_up: list[str] = field(default_factory=list[str])
    """Workers that ended by themselves, with their exit status."""
    at_risk: int = 0
    """Texts that struck workers had to embed at that moment, or `IN_FLIGHT` where that is less."""
    away_seconds: float = 0.0
    last: float = 0.0
    """When it last struck (monotonic)."""
    _faults: list[Fault] = field(default_factory=list[Fault])
    _shut_at: float | None = None

    def begin(self) -> None:
        options = self.site.options
        now = self.last = time.monotonic()
        self._again(self._kill, options.kill_every, now)
        self._again(self._freeze, min(FREEZE_EVERY, options.seconds / 3), now)
        if self.site.shared:
            self._again(self._restart, options.restart_every, now)
        if self.site.broker:
            self._once(self._purge, now + self.chance.uniform(*AWAY_AT) * options.seconds)
        if options.store_away:
            share = self.chance.uniform(*AWAY_AT)
            self._once(self._take_store_away, now + share * max(10.0, options.seconds))

    def tick(self) -> None:
        """Do what is due, and replace workers that ended by themselves."""
        now = time.monotonic()
        for fault in [fault for fault in self._faults if fault.due <= now]:
            if fault.every is None:
                self._faults.remove(fault)
            else:
                fault.due = now + fault.every * self.chance.uniform(0.75, 1.25)
            fault.strike()
            self.last = time.monotonic()
        self.see_to_workers()

    def see_to_workers(self) -> None:
        """Note what they take, and start another for each that ended by itself."""
        for worker in list(self.site.workers):
            worker.look()
            status = worker.running.poll()
            if status is not None:
                self.gave_up.append(f"{worker.name}: {status}")
                self.site.workers.remove(worker)
                self.site.start_worker()

    def calm(self) -> None:
        """Put an end to it: the store is back, and whoever stood still goes on."""
        self._faults.clear()
        if self._shut_at is not None:
            self._give_store_back()
        for worker in self.site.workers:
            self._thaw(worker)

    def _again(self, strike: Callable[[], None], every: float, now: float) -> None:
        self._faults.append(Fault(strike, now + every * FIRST_SHARE, every))

    def _once(self, strike: Callable[[], None], due: float) -> None:
        self._faults.append(Fault(strike, due, None))

    def _running(self) -> list[Process]:
        return [worker for worker in self.site.workers if not worker.frozen]

    def _kill(self) -> None:
        """Kill one; it is stopped first, so that it can be told what it had in its hands."""
        if running := self._running():
            worker = self.chance.choice(running)
            worker.running.send_signal(signal.SIGSTOP)
            worker.look()
            self._note_risk(worker)
            self.site.workers.remove(worker)
            worker.end(signal.SIGKILL)
            self.killed_pids.add(worker.running.pid)
            self.struck["kills"] += 1
            self.site.start_worker()

    def _freeze(self) -> None:
        """Let one of those that embed stand still until its leases have run out."""
        running = self._running()
        if not running or len(running) < len(self.site.workers):
            return
        held = self._held() or Counter()
        busy = [worker for worker in running if held[worker.running.pid]]
        worker = self.chance.choice(busy or running)
        worker.running.send_signal(signal.SIGSTOP)
        worker.frozen = True
        self._note_risk(worker)
        self.frozen_pids.add(worker.running.pid)
        self.struck["freezes"] += 1
        seconds = self.site.options.lease * self.chance.uniform(1.1, 2.0) + 1
        self._once(lambda: self._thaw(worker), time.monotonic() + seconds)

    def _note_risk(self, worker: Process) -> None:
        held = self._held()
        texts = IN_FLIGHT if held is None else held[worker.running.pid]
        self.at_risk += min(texts, IN_FLIGHT)

    def _held(self) -> Counter[int] | None:
        """Count the texts to be embedded under leases, by process; None if nobody can tell."""
        try:
            return self.site.database.read_now(_texts_held)
        except VectorFlowError:
            return None

    def _thaw(self, worker: Process) -> None:
        if worker.frozen:
            worker.frozen = False
            worker.running.send_signal(signal.SIGCONT)
            self.last = time.monotonic()

    def _restart(self) -> None:
        assert self.site.server is not None
        self.site.server.restart()
        self.struck["restarts"] += 1

    def _purge(self) -> None:
        """Empty all queues; workers stand still meanwhile, so that something is in them."""
        broker, running = self.site.broker, self._running()
        assert broker is not None
        for worker in running:
            worker.running.send_signal(signal.SIGSTOP)
        ends = time.monotonic() + GATHER_SECONDS
        while time.monotonic() < ends:
            self.struck["messages purged"] += sum(map(broker.purge, ALL))
            time.sleep(0.1)
        for worker in running:
            worker.running.send_signal(signal.SIGCONT)
        self.struck["purges"] += 1

    def _take_store_away(self) -> None:
        self.site.gate.shut()
        self._shut_at = time.monotonic()
        self.struck["store away"] += 1
        self._once(self._give_store_back, self._shut_at + self.site.options.store_away)

    def _give_store_back(self) -> None:
        if self._shut_at is not None:
            self.site.gate.open()
            self.away_seconds += time.monotonic() - self._shut_at
            self._shut_at = None
            self.last = time.monotonic()


def _texts_held(connection: Connection) -> Counter[int]:
    theirs = or_(versions.c.batch_id == batches.c.id, versions.c.id == batches.c.version_id)
    rows = connection.execute(
        select(batches.c.lease_owner, versions.c.new_rows)
        .join(versions, theirs)
        .where(batches.c.state == BatchState.LEASED, batches.c.kind == BatchKind.EMBED)
    )
    held: Counter[int] = Counter()
    for owner, texts in rows:
        held[pid_of(owner)] += texts
    return held
