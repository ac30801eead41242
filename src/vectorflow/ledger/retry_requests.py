"""Requests to retry that come with an idempotency key: sent again, they do no more.

What a request did is written in the transaction that does it, and the row of the request is locked
before anything else: two that come at once do it one after the other.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from vectorflow.errors import Conflict
from vectorflow.ledger import clock, retrying
from vectorflow.ledger.tables import retry_requests


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """A request by its key, and what tells it from another one of the same key."""

    tenant: str
    key: str
    request_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SoFar:
    """What a request has done."""

    documents: int
    jobs: tuple[int, ...]
    """Those that run again."""
    ended: bool
    """It looked at all jobs that it was for."""


def begin(connection: Connection, *, request: RetryRequest) -> SoFar:
    """Note that a request has come; tells what it did when it came before.

    Raises:
        Conflict: Its key came with another request.
    """
    row = _locked(connection, request)
    return SoFar(documents=row.documents, jobs=tuple(row.jobs), ended=row.ended)


def retry(
    connection: Connection,
    *,
    request: RetryRequest,
    job: int,
    cause: str | None = None,
    most: int | None = None,
    sealed: str | None = None,
) -> SoFar:
    """Try again what failed in a job, unless this request did; tells what it did in all.

    Args:
        connection: Of the transaction.
        request: Whose work it is.
        job: Whose failures.
        cause: Only those with this code.
        most: Only so many, the oldest, of all jobs together.
        sealed: All that the job needs of credentials, in the place of what it has kept.

    Raises:
        NotFound: This tenant has no such job.
        Conflict: The key came with another request, the job cannot be retried as it stands, or
            nothing in it can.
    """
    known = begin(connection, request=request)
    left = None if most is None else most - known.documents
    if known.ended or job in known.jobs or left == 0:
        return known
    again = retrying.retry(
        connection, tenant=request.tenant, job=job, cause=cause, most=left, sealed=sealed
    )
    documents, jobs = known.documents + again, (*known.jobs, job)
    _write(connection, request, documents=documents, jobs=list(jobs))
    return SoFar(documents=documents, jobs=jobs, ended=False)


def end(connection: Connection, *, request: RetryRequest) -> None:
    """Note that a request has nothing left to do."""
    _write(connection, request, ended=True)


def _locked(connection: Connection, request: RetryRequest) -> Row[Any]:
    row = _find(connection, request)
    if row is None:
        _insert(connection, request)
        row = _find(connection, request)
    if row is None or row.request_hash != request.request_hash:
        message = "this Idempotency-Key was used for another request"
        raise Conflict(message, fix="send a new key with a new request")
    return row


def _find(connection: Connection, request: RetryRequest) -> Row[Any] | None:
    return connection.execute(
        select(retry_requests)
        .where(
            retry_requests.c.tenant == request.tenant,
            retry_requests.c.idempotency_key == request.key,
        )
        .with_for_update()
    ).one_or_none()


def _insert(connection: Connection, request: RetryRequest) -> None:
    """Insert the row of a request; of two that try, one waits for the other and finds it there."""
    try:
        with connection.begin_nested():
            connection.execute(
                insert(retry_requests).values(
                    tenant=request.tenant,
                    idempotency_key=request.key,
                    request_hash=request.request_hash,
                    documents=0,
                    jobs=[],
                    ended=False,
                    created_at=clock.now(),
                )
            )
    except IntegrityError:
        return


def _write(connection: Connection, request: RetryRequest, **values: object) -> None:
    connection.execute(
        update(retry_requests)
        .where(
            retry_requests.c.tenant == request.tenant,
            retry_requests.c.idempotency_key == request.key,
        )
        .values(**values)
    )
