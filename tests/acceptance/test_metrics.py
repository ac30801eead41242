"""What running processes tell monitoring systems."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.api_server import (
    FORM,
    Server,
    page_of_worker,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
)
from tests.acceptance.cli_process import vectorflow
from tests.acceptance.v0_calls import OPEN_AI, OWN_STORE, Site, running_site
from tests.scraped import scraped
from tests.storm.postgres import Postgres
from vectorflow.ledger import schema
from vectorflow.ledger.database import Database

pytestmark = pytest.mark.slow

KEY = "the-key"
PROVIDER_KEY = "sk-of-the-provider"

EXTRACTED = 'vectorflow_batches_total{kind="extract",outcome="ok"}'
EMBEDDED = 'vectorflow_batches_total{kind="embed",outcome="ok"}'


def told_by_worker(data_dir: Path) -> dict[str, float]:
    return scraped(page_of_worker(data_dir))


def since(before: dict[str, float], data_dir: Path, *, embedded: int) -> dict[str, float]:
    """Give what was added until so many batches more were embedded.

    A job ends a moment before its worker counts the batch.
    """
    wait_until(lambda: told_by_worker(data_dir)[EMBEDDED] == before[EMBEDDED] + embedded)
    return {name: value - before.get(name, 0) for name, value in told_by_worker(data_dir).items()}


def told_by_api(client: httpx.Client) -> dict[str, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return scraped(answer.text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(
        tmp_path_factory.mktemp("metrics") / "data",
        key=KEY,
        provider_keys=[PROVIDER_KEY],
        OPEN_AI_KEY=PROVIDER_KEY,
        VECTORFLOW_METRICS__PORT="0",
    ) as running:
        yield running


def test_a_worker_tells_what_it_has_embedded_and_found_in_its_cache(site: Site) -> None:
    paid = {"EmbeddingsMetadata": OPEN_AI, "VectorDBMetadata": OWN_STORE | {"index_name": "paid"}}
    before = told_by_worker(site.server.data_dir)
    site.embedded("The refund is paid within ten days.", "one.txt", **paid)
    first = since(before, site.server.data_dir, embedded=1)
    site.embedded("The refund is paid within ten days.", "two.txt", **paid)
    second = since(before, site.server.data_dir, embedded=2)

    assert first[EXTRACTED] == 1
    assert first['vectorflow_embedding_texts_total{embedder="openai"}'] == 1
    assert 5 < first['vectorflow_embedding_tokens_total{embedder="openai"}'] < 20
    assert first['vectorflow_provider_calls_total{embedder="openai",outcome="ok"}'] == 1
    for stage in ("extract", "embed", "store"):
        assert first[f'vectorflow_stage_duration_seconds_count{{stage="{stage}"}}'] == 1
    hits, misses = (f"vectorflow_vector_cache_{one}_total" for one in ("hits", "misses"))
    assert (first[hits], first[misses]) == (0, 1)
    assert (second[hits], second[misses]) == (1, 1)
    assert second['vectorflow_embedding_texts_total{embedder="openai"}'] == 1


def test_api_and_worker_tell_the_same_of_the_ledger(site: Site) -> None:
    answer = site.embed("Some text.\x00 \xff".encode("latin-1"), "scan.pdf")
    assert site.end(answer) == "FAILED"
    wait_until(lambda: told_by_api(site.client)["vectorflow_dead_letters"] == 1)
    wait_until(lambda: told_by_worker(site.server.data_dir)["vectorflow_dead_letters"] == 1)
    wait_until(lambda: told_by_worker(site.server.data_dir)[EXTRACTED] > 0)

    api, worker = told_by_api(site.client), told_by_worker(site.server.data_dir)

    for found in (api, worker):
        assert found["vectorflow_ledger_up"] == 1
        assert found['vectorflow_open_jobs{state="running"}'] == 0
        assert found['vectorflow_duty_trouble{duty="reap",trouble="overdue"}'] == 0
        assert found['vectorflow_duty_last_run_timestamp_seconds{duty="reap"}'] > 1.7e9
        assert found['vectorflow_duty_last_success_timestamp_seconds{duty="reap"}'] > 1.7e9
    assert api[EXTRACTED] == 0
    assert worker[EXTRACTED] > 0


@contextmanager
def remote_worker(server: Server, data_dir: Path) -> Iterator[None]:
    given = {"VECTORFLOW_API_KEY": server.key, "API_REQUEST_URL": server.url}
    with running_worker(data_dir, VECTORFLOW_METRICS__PORT="0", **given):
        yield


def test_a_worker_without_a_ledger_tells_what_it_has_done_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "data"
    elsewhere.parent.mkdir()
    with (
        running_server(tmp_path / "data", INTERNAL_API_KEY=KEY) as server,
        remote_worker(server, elsewhere),
        server.client() as client,
    ):
        file = {"SourceData": ("page.txt", b"The refund is paid within ten days.")}
        job = client.post("/embed", data=FORM, files=file).json()["JobID"]
        assert wait_for_end(client, job) == "COMPLETED"
        wait_until(lambda: told_by_worker(elsewhere)[EMBEDDED] == 1)
        found = told_by_worker(elsewhere)

    assert found['vectorflow_embedding_texts_total{embedder="hash"}'] == 1
    assert "vectorflow_ledger_up" not in found


def test_the_worker_of_up_tells_on_a_port_of_its_own(tmp_path: Path) -> None:
    data_dir, given = tmp_path / "data", {"VECTORFLOW_METRICS__PORT": "0"}
    with (
        running_server(data_dir, command="up", INTERNAL_API_KEY=KEY, **given) as server,
        server.client() as client,
    ):
        api, worker = told_by_api(client), scraped(page_of_worker(data_dir, "up"))
        with httpx.Client(base_url=server.url) as stranger:
            refused = stranger.get("/metrics")

    assert api["vectorflow_ledger_up"] == worker["vectorflow_ledger_up"] == 1
    assert refused.status_code == 401


def test_a_worker_whose_port_is_taken_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        ran = vectorflow(tmp_path, "worker", "--metrics-port", port)

    assert ran.code == 1
    assert f"port {port} of 127.0.0.1 is taken" in ran.err
    assert "--metrics-port" in ran.err


@pytest.mark.usefixtures("postgres_to_break")
def test_a_database_that_stops_is_told_of_and_so_is_its_return(tmp_path: Path) -> None:
    data_dir, up = tmp_path / "data", "vectorflow_ledger_up"
    with Postgres() as postgres:
        given = {"VECTORFLOW_DATABASE__URL": migrated(postgres.make_database("ledger"))}
        with (
            running_server(data_dir, INTERNAL_API_KEY=KEY, **given) as server,
            running_worker(data_dir, VECTORFLOW_METRICS__PORT="0", **given),
            server.client() as client,
        ):
            assert told_by_worker(data_dir)[up] == told_by_api(client)[up] == 1

            postgres.stop()
            wait_until(lambda: told_by_api(client)[up] == 0)
            wait_until(lambda: told_by_worker(data_dir)[up] == 0)
            away = told_by_worker(data_dir)

            postgres.start()
            wait_until(lambda: told_by_api(client)[up] == 1)
            wait_until(lambda: told_by_worker(data_dir)[up] == 1)

    assert 'vectorflow_batches_total{kind="embed",outcome="ok"}' in away
    assert [name for name in away if "backlog" in name or "duty" in name] == []


def migrated(url: str) -> str:
    database = Database(url)
    schema.upgrade(database)
    database.close()
    return url
