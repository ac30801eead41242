"""Keys and addresses that a job is given anew: its own were erased when it ended, or refused."""

from dataclasses import replace
from functools import partial

from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials
from vectorflow.domain.pipelines import Pipeline, validation_digest, webhook_store
from vectorflow.errors import Conflict, InvalidInput, Unsealable
from vectorflow.ledger import secrets
from vectorflow.ledger.database import Database
from vectorflow.ledger.secrets import JobSecrets
from vectorflow.ports.secret_store import SecretStore
from vectorflow.service.secrets import seal_credentials, unseal_credentials


async def sealed_anew(
    database: Database, store: SecretStore, *, tenant: str, job: int, given: Credentials
) -> str | None:
    """Seal what a job is given over what it still has; None where it is given nothing.

    Args:
        database: The ledger.
        store: Seals.
        tenant: Whose job it is.
        job: One that is there.
        given: What came with the request.

    Raises:
        Conflict: It calls a hook whose address is not here any more, and is not given.
        InvalidInput: It calls no such hook, or one elsewhere.
        InvalidSetting: There is no key to seal with.
    """
    held = await database.read(partial(secrets.job_secrets, tenant=tenant, job=job))
    _check(job, held.pipeline, given)
    given = _fitting(held.pipeline, given)
    if not given:
        return None
    whole = given.over(_opened(store, tenant, held))
    if held.pipeline.delivers and not (whole.webhook_url and whole.webhook_key):
        message = f"the webhook of job {job} was erased with its end"
        raise Conflict(message, fix="send its webhook_url, and its key in X-Webhook-Key")
    if held.pipeline.recipe.validation is not None and not whole.validation_url:
        message = f"the address of the validation hook of job {job} was erased with its end"
        raise Conflict(message, fix="send its validation_url")
    return seal_credentials(store, tenant, whole)


def _opened(store: SecretStore, tenant: str, held: JobSecrets) -> Credentials:
    if held.sealed is None:
        return NO_CREDENTIALS
    try:
        return unseal_credentials(store, tenant, held.sealed)
    except Unsealable:  # what is given now may be the way out
        return NO_CREDENTIALS


def _fitting(pipeline: Pipeline, given: Credentials) -> Credentials:
    """Leave out the key of what the job does not use: many clients send all they have."""
    if pipeline.delivers:
        return replace(given, store_key=None)
    return replace(given, webhook_key=None)


def _check(job: int, pipeline: Pipeline, given: Credentials) -> None:
    """See that hooks are those that the job began with, but for what may be a secret in them."""
    if given.webhook_url and webhook_store(given.webhook_url) != pipeline.store:
        message = f"the webhook_url is not on the host of the webhook of job {job}"
        if not pipeline.delivers:
            message = f"job {job} has no webhook"
        raise InvalidInput(message, fix="leave it out, or send the documents again")
    digest = given.validation_url and validation_digest(given.validation_url)
    if digest and digest != pipeline.recipe.validation:
        message = f"job {job} has no validation hook at that validation_url"
        raise InvalidInput(message, fix="leave it out, or send the documents again")
