"""Credentials that rest in a ledger: sealed, bound to their place, and sealed anew."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, insert

from vectorflow.adapters.secret_stores.aesgcm import AesGcmSecretStore, new_key
from vectorflow.domain.credentials import NO_CREDENTIALS, Credentials
from vectorflow.errors import InvalidInput, NotFound, Unsealable
from vectorflow.ledger import secrets as kept
from vectorflow.ledger.database import Database
from vectorflow.ledger.secrets import Sealed
from vectorflow.ledger.tables import credentials
from vectorflow.ports.secret_store import SecretStore
from vectorflow.service import secrets
from vectorflow.service.secrets import Resealed
from vectorflow.settings import load
from vectorflow.testing.ledgers import dump
from vectorflow.wiring.credentials import completed

T = TypeVar("T")

OLD, NEW = new_key(), new_key()
CANARY = "sk-canary-5f2c81"
GIVEN = Credentials(embedding_key=CANARY, webhook_url=f"https://hook.test/{CANARY}?größe=1")


def store_of(*keys: str) -> AesGcmSecretStore:
    return AesGcmSecretStore(",".join(keys), Path("/no/such/place/secret.key"))


@pytest.fixture
def store() -> SecretStore:
    return store_of(OLD)


async def keep(
    ledger: Database,
    store: SecretStore,
    name: str = "openai",
    secret: str = CANARY,
    tenant: str = "blue",
) -> None:
    await secrets.keep_secret(ledger, store, tenant=tenant, name=name, secret=secret)


def of(ledger: Database, read: Callable[..., T], tenant: str = "blue") -> T:
    reading: Callable[[Connection], T] = partial(read, tenant=tenant)
    return ledger.read_now(reading)


def opened(ledger: Database, store: SecretStore, tenant: str = "blue") -> dict[str, str]:
    sealed = of(ledger, kept.tenant_secrets, tenant)
    return {name: secrets.unseal_secret(store, tenant, name, text) for name, text in sealed.items()}


@pytest.mark.parametrize("given", [GIVEN, NO_CREDENTIALS, Credentials(validation_url="")])
def test_credentials_are_opened_as_they_were_sealed(store: SecretStore, given: Credentials) -> None:
    sealed = secrets.seal_credentials(store, "blue", given)

    assert secrets.unseal_credentials(store, "blue", sealed) == given
    assert CANARY not in sealed


def test_credentials_belong_to_a_tenant_and_secrets_to_a_plugin(store: SecretStore) -> None:
    came = secrets.seal_credentials(store, "blue", GIVEN)
    sealed = secrets.seal_secret(store, "blue", "openai", CANARY)

    assert secrets.unseal_secret(store, "blue", "openai", sealed) == CANARY
    for tenant, name in (("red", "openai"), ("blue", "pinecone"), ("blue", "")):
        with pytest.raises(Unsealable):
            secrets.unseal_secret(store, tenant, name, sealed)
    with pytest.raises(Unsealable):
        secrets.unseal_credentials(store, "red", came)
    with pytest.raises(Unsealable):
        secrets.unseal_credentials(store, "blue", sealed)


def test_a_credential_of_a_later_release_is_passed_over(store: SecretStore) -> None:
    held = '{"embedding_key": "k", "oracle_key": "o"}'
    later = store.seal(held, context='["credentials","blue"]')

    assert secrets.unseal_credentials(store, "blue", later) == Credentials(embedding_key="k")


async def test_a_secret_is_kept_listed_replaced_and_dropped(
    ledger: Database, store: SecretStore
) -> None:
    await keep(ledger, store, "qdrant", "first")
    await keep(ledger, store)
    await keep(ledger, store, "qdrant", "second")

    listed = of(ledger, kept.list_secrets)
    assert [view.name for view in listed] == ["openai", "qdrant"]
    assert opened(ledger, store) == {"openai": CANARY, "qdrant": "second"}
    ledger.write_now(partial(kept.drop_secret, tenant="blue", name="qdrant"))
    assert opened(ledger, store) == {"openai": CANARY}
    with pytest.raises(NotFound, match="no secret 'qdrant'"):
        ledger.write_now(partial(kept.drop_secret, tenant="blue", name="qdrant"))


async def test_a_tenant_neither_sees_nor_drops_the_secrets_of_another(
    ledger: Database, store: SecretStore
) -> None:
    await keep(ledger, store)
    await keep(ledger, store, "openai", "theirs", "red")

    assert opened(ledger, store, "red") == {"openai": "theirs"}
    ledger.write_now(partial(kept.drop_secret, tenant="red", name="openai"))
    assert opened(ledger, store) == {"openai": CANARY}
    assert of(ledger, kept.list_secrets, "red") == []


async def test_the_ledger_shows_no_secret(ledger: Database, store: SecretStore) -> None:
    await keep(ledger, store)

    assert CANARY not in str(dump(ledger))
    assert CANARY not in str(of(ledger, kept.list_secrets))
    assert "openai" in str(dump(ledger))


@pytest.mark.parametrize("secret", ["", " ", "two words", "line\n", "größe", "\x7f", "x" * 4097])
async def test_what_cannot_be_a_key_is_refused_and_not_repeated(
    ledger: Database, store: SecretStore, secret: str
) -> None:
    with pytest.raises(InvalidInput, match="the key of 'openai'") as caught:
        await keep(ledger, store, secret=secret)

    assert not secret.strip() or secret not in str(caught.value)
    assert opened(ledger, store) == {}


async def test_sealing_anew_lets_the_older_key_go(ledger: Database, store: SecretStore) -> None:
    came = secrets.seal_credentials(store, "red", GIVEN)
    await keep(ledger, store)
    await keep(ledger, store, "qdrant", "other", "red")
    _keep_credentials(ledger, 7, "red", came)

    done = await secrets.reseal_all(ledger, store_of(NEW, OLD))

    assert done == Resealed(resealed=3, unsealable=0)
    assert opened(ledger, store_of(NEW)) == {"openai": CANARY}
    assert opened(ledger, store_of(NEW), "red") == {"qdrant": "other"}
    [text] = [text for text in ledger.read_now(kept.sealed_texts) if text.name is None]
    assert (text.id, text.tenant) == (7, "red")
    assert secrets.unseal_credentials(store_of(NEW), "red", text.sealed) == GIVEN


async def test_what_no_key_opens_is_counted_and_left_alone(
    ledger: Database, store: SecretStore
) -> None:
    await keep(ledger, store)
    await keep(ledger, store_of(NEW), "qdrant", "other")
    before = of(ledger, kept.tenant_secrets)

    done = await secrets.reseal_all(ledger, store_of(NEW))

    after = of(ledger, kept.tenant_secrets)
    assert done == Resealed(resealed=1, unsealable=1)
    assert after["openai"] == before["openai"]
    assert after["qdrant"] != before["qdrant"]


async def test_a_secret_that_was_set_meanwhile_is_not_undone(
    ledger: Database, store: SecretStore
) -> None:
    await keep(ledger, store, "openai", "older")
    [seen] = ledger.read_now(kept.sealed_texts)
    await keep(ledger, store, "openai", "newer")
    changes = [(seen, secrets.seal_secret(store_of(NEW), "blue", "openai", "older"))]

    assert ledger.write_now(partial(kept.reseal, changes=changes)) == 0

    assert opened(ledger, store) == {"openai": "newer"}


async def test_more_is_sealed_anew_than_fits_into_one_transaction(
    ledger: Database, store: SecretStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "GROUP", 3)
    for job in range(10):
        _keep_credentials(ledger, job, "blue", secrets.seal_credentials(store, "blue", GIVEN))

    done = await secrets.reseal_all(ledger, store_of(NEW, OLD))

    assert done == Resealed(resealed=10, unsealable=0)
    for text in ledger.read_now(kept.sealed_texts):
        assert secrets.unseal_credentials(store_of(NEW), "blue", text.sealed) == GIVEN


async def test_what_a_request_brings_itself_is_not_opened_of_a_tenants_secrets(
    ledger: Database, store: SecretStore, tmp_path: Path
) -> None:
    await keep(ledger, store)
    sealed = Sealed(tenant="blue", job=None, tenants=of(ledger, kept.tenant_secrets))
    open_with = partial(
        completed, load({}, environ={}, directory=tmp_path), store_of(NEW), sealed, "openai:m", ""
    )

    assert open_with(Credentials(embedding_key="mine")).embedding_key == "mine"
    with pytest.raises(Unsealable):
        open_with()


def _keep_credentials(ledger: Database, job: int, tenant: str, sealed: str) -> None:
    row = {"job_id": job, "tenant": tenant, "sealed": sealed}
    ledger.write_now(lambda connection: connection.execute(insert(credentials).values(row)))
