"""A worker dies after a webhook has answered, before that is noted: the webhook is told again."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from tests.acceptance.kill_site import Process, Site, wait_for
from tests.acceptance.outside import Receiver
from tests.acceptance.test_kill_answers import api, free_port, stop
from vectorflow.domain.jobs import JobState, Outcome
from vectorflow.ledger import laws, schema
from vectorflow.ledger.database import Database
from vectorflow.ledger.tables import jobs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LEASE = ["--lease", "3"]
"""Seconds; the settings allow no less than 30."""

KEY = "a-key-of-this-test"
DELIVERY = "x-vectorflow-delivery"
BATCHES, LINES = 3, 10
TEXT = "".join(f"Line {number} has a number, {number}.\n" for number in range(BATCHES * LINES))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    options = {"api.key": KEY, "api.port": free_port(), "hooks.allow": "127.0.0.1"}
    site = Site(root=tmp_path, options=options)
    if request.param == "postgres":
        site.options["database.url"] = request.getfixturevalue("postgres_database")
        database = Database(site.settings.database_url)
        schema.upgrade(database)
        database.close()
    return site


@pytest.fixture
def serving(site: Site) -> Iterator[Process]:
    serving = api(site, site.settings.api.port)
    yield serving
    stop(serving)


@pytest.mark.parametrize(
    ("seam", "nth"), [("delivered", 1), ("delivered", BATCHES), ("transaction:finish.embed", 1)]
)
def test_a_delivery_that_was_not_noted_comes_again_under_its_name_and_counts_once(
    site: Site, serving: Process, receiver: Receiver, seam: str, nth: int
) -> None:
    spot = receiver.spot("/hook")
    dying = site.start("worker", seam=seam, nth=nth, flags=LEASE)
    job = send(site, spot.url)
    assert dying.wait() == -signal.SIGKILL, dying.said()
    told_before = len(spot.received)

    worker = site.start("worker", flags=LEASE)
    wait_for(lambda: not site.is_busy(), "the end of the job", worker, serving)
    stop(worker)

    told = [(request.headers[DELIVERY], request.body) for request in spot.received]
    assert told_before >= nth
    assert len(set(told)) == len({name for name, _ in told}) == BATCHES
    assert set(told[told_before:]) & set(told[:told_before])
    [row] = site.read(select(jobs).where(jobs.c.id == job))
    assert (row.state, row.docs_done, row.docs_failed) == (JobState.COMPLETED, 1, 0)
    assert site.chunks_embedded() <= row.records_new == chunks_of(told)  # no text is paid twice
    assert site.outcomes()[Outcome.OK] == 1 + BATCHES
    assert broken_laws(site) == {}


def send(site: Site, url: str) -> int:
    fields = {
        "EmbeddingsMetadata": json.dumps({"embeddings_type": "SELF_HOSTED", "chunk_size": 64}),
        "VectorDBMetadata": json.dumps({"vector_db_type": "lancedb", "index_name": "default"}),
        "LinesPerBatch": str(LINES),
        "WebhookURL": url,
    }
    answer = httpx.post(
        f"http://127.0.0.1:{site.settings.api.port}/embed",
        data=fields,
        files={"SourceData": ("lines.txt", TEXT.encode())},
        headers={"VectorFlowKey": KEY, "X-Webhook-Key": "key-of-the-hook"},
        timeout=30,
    )
    job: int = answer.raise_for_status().json()["JobID"]
    return job


def chunks_of(told: list[tuple[str, bytes]]) -> int:
    """Count the chunks of all deliveries, each taken once."""
    return sum(len(json.loads(body)["Embeddings"]) for body in dict(told).values())


def broken_laws(site: Site) -> dict[str, list[tuple[object, ...]]]:
    database = Database(site.settings.database_url)
    found = database.read_now(lambda connection: laws.broken(connection, all_done=True))
    database.close()
    return found
