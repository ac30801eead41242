"""Batches over which workers may have died: losses that no progress explains."""

from typing import Any

from sqlalchemy import Row

from vectorflow.domain import retries
from vectorflow.domain.jobs import BatchKind


def is_suspect(row: Row[Any], *, more: int = 0) -> bool:
    """Whether a batch must run beside no other; `more` losses are not in its row yet."""
    return row.kind != BatchKind.RETIRE and retries.is_suspect(_lost(row, more), cut=_is_cut(row))


def is_condemned(row: Row[Any], *, more: int = 0) -> bool:
    """Whether the one document of a batch must be given up."""
    return retries.is_condemned(_lost(row, more), cut=_is_cut(row))


def _lost(row: Row[Any], more: int) -> int:
    """Losses since it last got on: a long document may be lost often, and is no poison for that."""
    return int(row.lost) + more - int(row.excused or 0)


def _is_cut(row: Row[Any]) -> bool:
    return row.cut_from is not None
