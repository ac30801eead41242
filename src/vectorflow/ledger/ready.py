"""What a transaction makes ready: noted while it runs, told once it is committed."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Row

from vectorflow.domain.jobs import BatchKind
from vectorflow.ports.queue import WakeUp

_KEY = "vectorflow.ready"

OnReady = Callable[[frozenset[WakeUp]], None]
"""Told what can be claimed now; it may not raise, nor take its time."""


def nobody_waits(_ready: frozenset[WakeUp]) -> None:
    """Tell nobody: workers poll."""


def note(connection: Connection, lane: int, kind: str) -> None:
    """Note that a batch of this kind may be claimed after the commit."""
    connection.info.setdefault(_KEY, set()).add(WakeUp(lane, BatchKind(kind)))


def note_rows(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    """Note the same of rows that tell lane and kind."""
    for row in rows:
        note(connection, row.lane, row.kind)


def noted(connection: Connection) -> frozenset[WakeUp]:
    """Give what was noted, and forget it."""
    return frozenset(connection.info.pop(_KEY, ()))
