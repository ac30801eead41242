"""The children of a worker: started when they are needed, kept warm, replaced when worn."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from vectorflow.errors import Unavailable
from vectorflow.sandbox.limits import Limits
from vectorflow.sandbox.places import Places
from vectorflow.sandbox.process import Child

log = logging.getLogger(__name__)

_WORN = 2
"""A child that keeps half of its memory is replaced, lest the next document lack it."""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How many children there are, and for how long."""

    children: int | None = None
    """Documents that are extracted at once; None means one for each core."""
    documents: int = 1000
    """Documents after which a child is replaced."""


DEFAULT_LIMITS = Limits()
DEFAULT_OPTIONS = PoolOptions()


class Pool:
    """Lends children to threads; close it when no document is extracted any more."""

    def __init__(
        self,
        places: Callable[[], Places],
        limits: Limits = DEFAULT_LIMITS,
        options: PoolOptions = DEFAULT_OPTIONS,
    ) -> None:
        """Start nothing yet; `places` are asked for when a child starts."""
        self.limits = limits
        self.started = 0
        """Children started so far."""
        self._places = places
        self._documents = options.documents
        self._most = options.children or _cores()
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._is_closed = False
        self.turns = asyncio.Semaphore(self._most)
        """Taken while a child is lent: so that it is the event loop that waits, not its threads."""

    def take(self, *, fresh: bool = False) -> Child:
        """Lend a child, started if none is idle or a `fresh` one is asked for.

        Raises:
            Unavailable: It does not start, or the pool is closed.
        """
        idle = None if fresh else self._pop()
        if idle is not None:
            return idle
        child = Child(self._places(), self.limits)
        with self._lock:
            if not self._is_closed:
                self._all.add(child)
                self.started += 1
                return child
        child.close()
        raise _closed()

    def check_open(self) -> None:
        """Make sure that a child that died was not ended by us.

        Raises:
            Unavailable: The pool is closed.
        """
        if self._is_closed:
            raise _closed()

    def give_back(self, child: Child) -> None:
        """Take a child back; it is ended unless it can extract a further document."""
        is_worn = child.documents >= self._documents or child.resident * _WORN > self.limits.memory
        with self._lock:
            if child.is_free and not is_worn and len(self._idle) < self._most:
                self._idle.append(child)
                return
            self._all.discard(child)
        child.close()

    def close(self) -> None:
        """End all children, those that have a document too."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for child in self._all:
                child.kill()
            self._all.difference_update(idle)
        for child in idle:
            child.close()

    def _pop(self) -> Child | None:
        """Take an idle child, the one that was busy last; those that died meanwhile are dropped."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_free:
                    return child
                self._all.discard(child)
                child.close()
        return None


def _closed() -> Unavailable:
    return Unavailable("the sandbox is closed")
