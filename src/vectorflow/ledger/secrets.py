"""Sealed texts: secrets that tenants keep here, and credentials that came with requests."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import (
    Connection,
    Row,
    String,
    bindparam,
    delete,
    insert,
    null,
    select,
    union_all,
    update,
)

from vectorflow.domain.pipelines import Pipeline
from vectorflow.errors import NotFound
from vectorflow.ledger import clock
from vectorflow.ledger.columns import IDS
from vectorflow.ledger.tables import credentials, jobs, pipelines, secrets

_pipelines = TypeAdapter(Pipeline)

_SEALED = (
    select(credentials.c.job_id, credentials.c.tenant, null(), credentials.c.sealed)
    .where(credentials.c.job_id.in_(IDS))
    .union_all(
        select(null(), secrets.c.tenant, secrets.c.name, secrets.c.sealed).where(
            secrets.c.tenant.in_(bindparam("tenants", type_=String, expanding=True))
        )
    )
)


class Sealed(NamedTuple):
    """Credentials of a batch as they rest."""

    tenant: str
    job: str | None
    """What came with its request."""
    tenants: Mapping[str, str]
    """What its tenant keeps here, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretView:
    """A secret as people may see it."""

    name: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedText:
    """A sealed text and where it rests."""

    id: int
    tenant: str
    name: str | None
    """Of a secret; None for the credentials of job `id`."""
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSecrets:
    """What a job was given with its request, and what it needs that for."""

    pipeline: Pipeline
    sealed: str | None = field(repr=False)
    """None if nothing came, and once the job has ended."""


def job_secrets(connection: Connection, *, tenant: str, job: int) -> JobSecrets:
    """Read the credentials of a job that is there."""
    row = connection.execute(
        select(pipelines.c.spec, credentials.c.sealed)
        .join(jobs, jobs.c.pipeline_id == pipelines.c.id)
        .join(credentials, credentials.c.job_id == jobs.c.id, isouter=True)
        .where(jobs.c.id == job, jobs.c.tenant == tenant)
    ).one()
    return JobSecrets(pipeline=_pipelines.validate_python(row.spec), sealed=row.sealed)


def keep_credentials(connection: Connection, *, tenant: str, job: int, sealed: str) -> None:
    """Keep credentials of a job, whose row is locked, in the place of earlier ones."""
    held = credentials.c.job_id == job
    if not connection.execute(update(credentials).where(held).values(sealed=sealed)).rowcount:
        new = {"job_id": job, "tenant": tenant, "sealed": sealed}
        connection.execute(insert(credentials).values(new))


def keep_secret(connection: Connection, *, tenant: str, name: str, sealed: str) -> None:
    """Keep a secret in the place of an earlier one of that name."""
    held = secrets.c.tenant == tenant, secrets.c.name == name
    new = {"sealed": sealed, "created_at": clock.now()}
    if not connection.execute(update(secrets).where(*held).values(new)).rowcount:
        connection.execute(insert(secrets).values(tenant=tenant, name=name, **new))


def list_secrets(connection: Connection, *, tenant: str) -> list[SecretView]:
    """List the secrets of a tenant by name; nobody is shown what they are."""
    rows = connection.execute(
        select(secrets.c.name, secrets.c.created_at)
        .where(secrets.c.tenant == tenant)
        .order_by(secrets.c.name)
    )
    return [SecretView(name=row.name, created_at=row.created_at) for row in rows]


def drop_secret(connection: Connection, *, tenant: str, name: str) -> None:
    """Forget a secret.

    Raises:
        NotFound: There is none of that name.
    """
    held = secrets.c.tenant == tenant, secrets.c.name == name
    if not connection.execute(delete(secrets).where(*held)).rowcount:
        message = f"there is no secret {name!r}"
        raise NotFound(message, fix="`vectorflow secrets list` shows the secrets there are")


def tenant_secrets(connection: Connection, *, tenant: str) -> dict[str, str]:
    """Give the sealed secrets of a tenant, by name."""
    rows = connection.execute(
        select(secrets.c.name, secrets.c.sealed).where(secrets.c.tenant == tenant)
    )
    return {row.name: row.sealed for row in rows}


def sealed_of(connection: Connection, rows: Sequence[Row[Any]]) -> list[Sealed]:
    """Read the credentials of each of these batches."""
    whose = {"ids": {row.job_id for row in rows}, "tenants": {row.tenant for row in rows}}
    by_job: dict[int, str] = {}
    kept: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for job, tenant, name, sealed in connection.execute(_SEALED, whose):
        if name is None:
            by_job[job] = sealed
        else:
            kept[tenant][name] = sealed
    return [Sealed(row.tenant, by_job.get(row.job_id), kept[row.tenant]) for row in rows]


def sealed_texts(connection: Connection) -> list[SealedText]:
    """Give all that is sealed, of all tenants."""
    kept = select(secrets.c.id, secrets.c.tenant, secrets.c.name, secrets.c.sealed)
    came = select(credentials.c.job_id, credentials.c.tenant, null(), credentials.c.sealed)
    rows = connection.execute(union_all(kept, came))
    return [
        SealedText(id=id, tenant=tenant, name=name, sealed=sealed)
        for id, tenant, name, sealed in rows  # noqa: A001 - the field's word
    ]


def reseal(connection: Connection, *, changes: Sequence[tuple[SealedText, str]]) -> int:
    """Put newly sealed texts in the place of those they were made of, where these still rest."""
    return sum(_reseal(connection, old, sealed) for old, sealed in changes)


def _reseal(connection: Connection, old: SealedText, sealed: str) -> int:
    table = credentials if old.name is None else secrets
    key = credentials.c.job_id if old.name is None else secrets.c.id
    still = key == old.id, table.c.sealed == old.sealed
    return connection.execute(update(table).where(*still).values(sealed=sealed)).rowcount
