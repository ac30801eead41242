"""What the API lends workers over HTTP: what a batch takes, and no more."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from vectorflow import settings
from vectorflow.adapters.vector_stores.memory import MemoryVectorStore
from vectorflow.adapters.vector_stores.remote import ApiVectorStore
from vectorflow.cli.worker import works_remotely
from vectorflow.domain.credentials import Credentials, account_of
from vectorflow.domain.jobs import BatchKind
from vectorflow.errors import InvalidSetting
from vectorflow.ports.work import Lease, LeasedIndex, LeasedJob
from vectorflow.settings import Settings
from vectorflow.testing.workplace import PIPELINE
from vectorflow.wiring.desk import is_reached_by_others, loan_of
from vectorflow.wiring.remote import RemoteParts, server_key

ALL = Credentials(
    embedding_key="e", store_key="s", webhook_url="https://hook", webhook_key="w",
    validation_url="https://validation",
)  # fmt: skip
OWN = "postgresql://db.example:5432/docs"
FAR = "qdrant://far.example:6333"
OWN_URL = "postgresql://me:pass-word@db.example/docs"


def load(tmp_path: Path, **values: object) -> Settings:
    given = {name.replace("__", "."): value for name, value in values.items()}
    return settings.load(given, environ={}, directory=tmp_path)


def a_lease(
    kind: BatchKind = BatchKind.EMBED,
    credentials: Credentials = ALL,
    store: str = "lancedb:///here",
    embedder: str = "hash:8",
) -> Lease:
    return Lease(
        batch=1, epoch=1, kind=kind, seconds=30.0, attempt=1,
        job=LeasedJob(id=1, tenant="default", document_id="", credentials=credentials),
        pipeline=dataclasses.replace(PIPELINE, store=store, embedder=embedder),
        index=LeasedIndex(id=1, ledger="l", incarnation="i", written=False),
        versions=(), vectors=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "lent"),
    [
        (BatchKind.EXTRACT, Credentials(validation_url="https://validation")),
        (BatchKind.EMBED, dataclasses.replace(ALL, validation_url=None)),
        (BatchKind.RETIRE, Credentials(store_key="s")),
    ],
)
def test_each_kind_of_batch_is_lent_what_it_takes(
    tmp_path: Path, kind: BatchKind, lent: Credentials
) -> None:
    lease = a_lease(kind, store=FAR)

    assert loan_of(load(tmp_path, store=FAR), FAR, lease).lease.job.credentials == lent


def test_the_key_of_a_store_that_the_api_writes_stays_there(tmp_path: Path) -> None:
    loan = loan_of(load(tmp_path), OWN, a_lease(store="qdrant://127.0.0.1:6333"))

    assert loan.lease.job.credentials.store_key == account_of(ALL.store_key)
    assert loan.stores == {"qdrant://127.0.0.1:6333": None}


def test_the_store_of_the_settings_is_lent_with_its_password(tmp_path: Path) -> None:
    loan = loan_of(load(tmp_path, store=OWN_URL), OWN, a_lease(BatchKind.RETIRE, store=OWN))

    assert loan.stores == {OWN: OWN_URL}
    assert loan.secret
    assert "pass-word" not in repr(loan)


BARE_URL = "postgresql://me@db.example/docs"


@pytest.mark.parametrize("name", ["PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSSLCERT"])
def test_a_store_whose_password_only_the_environment_has_is_written_by_the_api(
    tmp_path: Path, name: str
) -> None:
    lease, own = a_lease(store=OWN), load(tmp_path, store=BARE_URL)

    loan = loan_of(own, OWN, lease, environ={name: "pass-word"})

    assert loan.stores == {OWN: None}
    assert loan.lease.job.credentials.store_key == account_of(ALL.store_key)
    assert loan_of(own, OWN, lease, environ={name: ""}).stores == {OWN: BARE_URL}
    for url in (OWN_URL, f"{BARE_URL}?password=pass-word"):
        whole = loan_of(load(tmp_path, store=url), OWN, lease, environ={name: "other"})
        assert whole.stores == {OWN: url}


def test_it_is_the_environment_of_the_api_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "pass-word")
    own, far = load(tmp_path, store=BARE_URL), load(tmp_path, store=FAR)

    assert loan_of(own, OWN, a_lease(store=OWN)).stores == {OWN: None}
    assert loan_of(far, FAR, a_lease(store=FAR)).stores == {FAR: FAR}


@pytest.mark.parametrize(("url", "locator"), [(OWN_URL, OWN), ("pinecone://docs.example",) * 2])
def test_a_store_that_only_the_api_reaches_is_written_by_the_api(
    tmp_path: Path, url: str, locator: str
) -> None:
    own = load(tmp_path, store=url, stores__lend=False)
    bare = a_lease(store=locator, credentials=Credentials())

    loan = loan_of(own, locator, bare)

    assert loan.stores == {locator: None}
    assert not loan.secret
    named = "pinecone://named.example"
    assert loan_of(own, locator, a_lease(store=named)).stores == {named: named}


def test_a_host_that_a_request_named_is_called_by_the_api_alone(tmp_path: Path) -> None:
    loan = loan_of(load(tmp_path), OWN, a_lease(store="qdrant://far.example:6333"))

    assert loan.lease.job.credentials.store_key == account_of(ALL.store_key)
    assert loan.stores == {"qdrant://far.example:6333": None}


def test_an_open_store_and_a_local_model_are_no_secret(tmp_path: Path) -> None:
    lease = a_lease(credentials=Credentials(), store=FAR)

    assert not loan_of(load(tmp_path, store=FAR), FAR, lease).secret


def test_the_provider_of_the_settings_is_lent_where_a_request_brings_no_key(
    tmp_path: Path,
) -> None:
    own = load(tmp_path, openai__key="own", openai__base_url="https://provider.example/v1")
    bare = a_lease(credentials=Credentials(), embedder="openai:m")

    for lease, key in ((bare, "own"), (a_lease(embedder="openai:m"), "e")):
        loan = loan_of(own, OWN, lease)
        assert loan.lease.job.credentials.embedding_key == key
        assert loan.providers == {"openai": "https://provider.example/v1"}
        assert loan.secret
    assert loan_of(own, OWN, dataclasses.replace(bare, kind=BatchKind.EXTRACT)).secret is False


def test_a_webhook_is_no_store(tmp_path: Path) -> None:
    assert loan_of(load(tmp_path), OWN, a_lease(store="webhook://hook")).stores == {}


@pytest.mark.parametrize(
    ("locator", "is_so"),
    [
        ("lancedb:///data/vectors", False), ("lancedb://{data_dir}/vectors", False),
        ("memory://name", False), ("postgresql:///docs?host=/run/pg&port=5432", False),
        ("postgresql://localhost:5432/docs", False), ("qdrant://127.0.0.2:6333", False),
        ("qdrant://[::1]:6333", False), ("qdrant://10.0.0.7:6333", True),
        ("pinecone://docs-1.svc.pinecone.io", True), (OWN, True),
    ],
)  # fmt: skip
def test_who_reaches_a_store(locator: str, is_so: bool) -> None:
    assert is_reached_by_others(locator) is is_so


URL = {"server__url": "https://api.example"}


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({}, "there is no server"),
        (URL, "there is no key"),
        (URL | {"server__key": "k", "offline": True}, "VECTORFLOW_OFFLINE"),
    ],
)
def test_a_worker_that_cannot_work_says_so(
    tmp_path: Path, given: dict[str, object], mistake: str
) -> None:
    with pytest.raises(InvalidSetting, match=mistake):
        RemoteParts(load(tmp_path, **given))


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[RemoteParts]:
    async with RemoteParts(load(tmp_path, **URL, server__key="k", openai__key="mine")) as parts:
        yield parts


async def test_a_worker_writes_where_the_api_says_and_otherwise_through_it(
    remote: RemoteParts,
) -> None:
    work = remote._work  # noqa: SLF001 - filled by claims
    work.stores |= {"memory://a": "memory://a", "memory://b": None}

    direct = await remote.store("memory://a")

    assert isinstance(direct, MemoryVectorStore)
    assert await remote.store("memory://a") is direct
    assert isinstance(await remote.store("memory://b"), ApiVectorStore)
    assert isinstance(await remote.store("lancedb:///never/said"), ApiVectorStore)


def base_url(settings: Settings) -> str:
    return settings.openai.base_url


async def test_a_lent_key_goes_where_the_api_says_and_an_own_one_never(
    tmp_path: Path, remote: RemoteParts
) -> None:
    provider = remote._for_provider  # noqa: SLF001 - the rule itself
    remote._work.providers["openai"] = "https://lent.example/v1"  # noqa: SLF001

    assert base_url(provider("openai", "lent")) == "https://lent.example/v1"
    assert provider("openai", "lent").openai.key is None
    assert base_url(provider("openai", None)) == "https://api.openai.com/v1"
    assert base_url(provider("other", "lent")) == "https://api.openai.com/v1"
    async with RemoteParts(load(tmp_path, **URL, server__key="k")) as keyless:
        keyless._work.providers["openai"] = "http://10.0.0.5/v1"  # noqa: SLF001
        assert base_url(keyless._for_provider("openai", None)) == "http://10.0.0.5/v1"  # noqa: SLF001


def test_the_key_of_the_server_is_its_own_or_that_of_the_api(tmp_path: Path) -> None:
    assert server_key(load(tmp_path, server__key="k", api__key="a,b")) == "k"
    assert server_key(load(tmp_path, api__key="a,b")) == "a"


@pytest.mark.parametrize(
    ("given", "environ", "is_so"),
    [
        ({}, {}, False),
        ({}, {"API_REQUEST_URL": "http://api:8000/"}, True),
        ({}, {"VECTORFLOW_SERVER": "https://api.example"}, True),
        ({"server.url": "https://api.example"}, {}, True),
        ({}, {"API_REQUEST_URL": "http://api", "DATABASE_URL": "postgresql://db/x"}, False),
        ({"server.url": "http://api"}, {"DATABASE_URL": "postgresql://db/x"}, True),
        ({"database.url": "postgresql://db/x"}, {"API_REQUEST_URL": "http://api"}, False),
        ({"database.url": "postgresql://db/x", "server.url": "http://api"}, {}, False),
    ],
)
def test_a_worker_is_remote_where_a_server_is_named_and_no_ledger(
    tmp_path: Path, given: dict[str, object], environ: dict[str, str], is_so: bool
) -> None:
    found = settings.load(given, environ=environ, directory=tmp_path)

    assert works_remotely(found) is is_so
