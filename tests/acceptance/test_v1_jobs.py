"""Jobs steered over HTTP while the processes of others work on them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx
import pytest

from tests.acceptance.api_server import (
    FORM,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
)
from tests.acceptance.cli_process import vectorflow, write_corpus
from tests.acceptance.outside import Received, Receiver, Spot

pytestmark = pytest.mark.slow

EMBEDDINGS = '{"embeddings_type":"SELF_HOSTED","chunk_size":64,"chunk_strategy":"exact"}'
BATCHES = 40
HELD = 4
"""Batches that the worker holds at once."""

CHUNKER = """
from pathlib import Path

def cut(text):
    if Path(__file__).with_name("broken").exists():
        raise RuntimeError("it is broken")
    return [text]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server, a worker with a chunker that can be broken, and a receiver of webhooks."""

    folder: Path
    client: httpx.Client
    receiver: Receiver
    variables: Mapping[str, str]
    """Of all processes."""

    def job(self, id: int) -> dict[str, object]:
        answer = self.client.get(f"/v1/jobs/{id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, object] = answer.json()
        return shown

    def step(self, id: int, name: str) -> dict[str, object]:
        answer = self.client.post(f"/v1/jobs/{id}:{name}")
        assert answer.status_code == 200, answer.text
        told: dict[str, object] = answer.json()
        return told

    def embed(self, text: str, **fields: str) -> int:
        answer = self.client.post(
            "/embed",
            data=FORM | {"EmbeddingsMetadata": EMBEDDINGS} | fields,
            files={"SourceData": ("a.txt", text.encode())},
            headers={"X-Webhook-Key": "hook"},
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["JobID"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("v1")
    (folder / "mine.py").write_text(CHUNKER, "utf-8")
    given = {
        "VECTORFLOW_CHUNKING__CHUNKER": f"{folder / 'mine.py'}:cut",
        "VECTORFLOW_EMBEDDER": "hash:64",
        "VECTORFLOW_HOOKS__ALLOW": "127.0.0.1",
        "VECTORFLOW_WORKER__BATCHES": str(HELD),
        "VECTORFLOW_WORKER__POLL_SECONDS": "0.05",
    }
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        server = stack.enter_context(
            running_server(folder / "data", INTERNAL_API_KEY="the-key", **given)
        )
        stack.enter_context(running_worker(folder / "data", **given))
        yield Site(
            folder=folder,
            client=stack.enter_context(server.client()),
            receiver=receiver,
            variables=given,
        )


class Gate:
    """A webhook that answers once it is opened, and the job that it holds up."""

    def __init__(self, site: Site, name: str) -> None:
        self.opened = Event()
        self.spot: Spot = site.receiver.spot(f"/{name}", say=self._say)
        lines = "".join(f"{name} {number} is a line.\n" for number in range(BATCHES))
        self.job = site.embed(lines, WebhookURL=self.spot.url, LinesPerBatch="1", DocumentID=name)
        wait_until(lambda: bool(self.spot.received))

    def _say(self, _request: Received) -> int:
        return 200 if self.opened.wait(60) else 500

    @property
    def deliveries(self) -> list[str]:
        return [request.headers["x-vectorflow-delivery"] for request in self.spot.received]


def test_a_job_is_paused_while_a_worker_is_at_it_and_then_goes_on(site: Site) -> None:
    gate = Gate(site, "paused")
    running = site.job(gate.job)["state"]

    told = site.step(gate.job, "pause")
    gate.opened.set()
    other = site.embed("Others go on meanwhile.", DocumentID="other")
    ended = wait_for_end(site.client, other)
    between, delivered = site.job(gate.job), len(gate.deliveries)
    documents = site.client.get(f"/v1/jobs/{gate.job}/documents").json()["documents"]
    listed = site.client.get("/v1/jobs?state=paused").json()["jobs"]
    stream = site.client.get(f"/v1/jobs/{gate.job}/vectors")
    site.step(gate.job, "resume")

    assert (running, told["state"], ended) == ("running", "paused", "COMPLETED")
    assert between["state"] == "paused"
    assert delivered < BATCHES / 2  # what was held ended, and nothing more began
    assert [one["status"] for one in documents] == ["indexing"]
    assert [one["id"] for one in listed] == [gate.job]
    assert (stream.status_code, stream.json()["code"]) == (409, "conflict")
    assert wait_for_end(site.client, gate.job) == "COMPLETED"
    assert len(gate.deliveries) == len(set(gate.deliveries)) == BATCHES


def test_a_job_is_cancelled_while_a_worker_is_at_it(site: Site) -> None:
    gate = Gate(site, "cancelled")

    told = [site.step(gate.job, "cancel")["state"] for _ in range(2)]
    gate.opened.set()
    other = site.embed("Others go on after that.", DocumentID="another")
    ended = wait_for_end(site.client, other)
    retried = site.client.post(f"/v1/jobs/{gate.job}:retry")

    assert (told, ended) == (["cancelled", "cancelled"], "COMPLETED")
    assert wait_for_end(site.client, gate.job) == "CANCELLED"
    assert len(gate.deliveries) < BATCHES / 2
    assert (retried.status_code, retried.json()["fix"]) == (409, "send its documents again")


def test_a_canary_shows_that_the_fix_is_one_before_the_rest_is_tried(site: Site) -> None:
    broken = site.folder / "broken"
    broken.touch()
    write_corpus(site.folder / "docs", 4)
    command = ("embed", "docs", "--data-dir", "data", "--json")
    embed = vectorflow(site.folder, *command, **site.variables)
    job = int(str(embed.json["job_id"]))
    [cause] = site.client.get(f"/v1/failures?job={job}").json()["causes"]
    asked = {"cause": cause["code"]}

    def retry(path: str, **body: object) -> int:
        answer = site.client.post(path, json=asked | body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["jobs"] == [job]
        wait_for_end(site.client, job)
        return int(answer.json()["documents"])

    in_vain = retry("/v1/failures:retry", canary=1)
    still = site.client.get(f"/v1/failures?job={job}").json()["causes"][0]["documents"]
    broken.unlink()
    canary = retry(f"/v1/jobs/{job}:retry", canary=1)
    path = f"/v1/jobs/{job}/documents?limit=1&status="
    states = {name: site.client.get(path + name).json() for name in ("failed", "live")}
    rest = retry("/v1/failures:retry")

    assert (embed.code, cause["documents"], cause["stage"]) == (3, 4, "extract")
    assert (in_vain, still) == (1, 4)
    assert canary == 1
    assert [len(page["documents"]) for page in states.values()] == [1, 1]
    assert (states["failed"]["next_cursor"] is None, states["live"]["next_cursor"]) == (False, None)
    assert rest == 3
    assert site.job(job)["state"] == "completed"
    assert site.client.get("/v1/failures").json() == {"causes": []}
    again = site.client.post("/v1/failures:retry", json=asked)
    assert (again.status_code, json.loads(again.content)["retryable"]) == (409, False)
