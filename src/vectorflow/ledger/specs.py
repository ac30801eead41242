"""Pipelines as the ledger keeps them."""

from collections.abc import Iterable

from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from vectorflow.domain.pipelines import Pipeline
from vectorflow.ledger.columns import IDS
from vectorflow.ledger.tables import pipelines

_BY_ID = select(pipelines).where(pipelines.c.id.in_(IDS))

_pipelines = TypeAdapter(Pipeline)


def specs(connection: Connection, ids: Iterable[int]) -> dict[int, Pipeline]:
    """Read pipelines by id."""
    wanted = set(ids)
    if not wanted:
        return {}
    rows = connection.execute(_BY_ID, {"ids": wanted})
    return {row.id: _pipelines.validate_python(row.spec) for row in rows}
