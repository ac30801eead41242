"""An API that dies before it answers: the same request again makes one job of each document."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Process, Site, wait_for
from tests.acceptance.outside import Receiver
from vectorflow.domain.documents import content_hash

pytestmark = pytest.mark.slow

KEY = "a-key-of-this-test"
METADATA = {
    "EmbeddingsMetadata": json.dumps({"embeddings_type": "SELF_HOSTED", "chunk_size": 64}),
    "VectorDBMetadata": json.dumps({"vector_db_type": "lancedb", "index_name": "default"}),
}
TEXTS = {f"told-{number}.txt": corpus.made_text(f"told {number}", 300) for number in range(3)}
FIRST = "told-0.txt"

Send = Callable[[httpx.Client], httpx.Response]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.mark.parametrize("seam", ["put:uploads", "transaction:take_uploads", "commit:take_uploads"])
def test_a_request_that_got_no_answer_can_be_sent_again(tmp_path: Path, seam: str) -> None:
    def send(client: httpx.Client) -> httpx.Response:
        files = {"SourceData": (FIRST, TEXTS[FIRST].encode())}
        return client.post("/embed", data=METADATA | {"DocumentID": FIRST}, files=files)

    jobs = sent_again(Site(root=tmp_path, texts={FIRST: TEXTS[FIRST]}), send, seam)

    assert [len(job) for job in jobs] == [1, 1]


@pytest.mark.parametrize(("seam", "nth"), [("put:uploads", 2), ("commit:take_uploads", 1)])
def test_a_request_with_many_files_can_be_sent_again(tmp_path: Path, seam: str, nth: int) -> None:
    def send(client: httpx.Client) -> httpx.Response:
        files = [("file", (name, text.encode())) for name, text in TEXTS.items()]
        return client.post("/jobs", data=METADATA, files=files)

    site = Site(root=tmp_path, texts={external_id(name): text for name, text in TEXTS.items()})
    jobs = sent_again(site, send, seam, nth)

    assert [len(job) for job in jobs] == [3, 3]


def test_a_request_with_an_address_can_be_sent_again(tmp_path: Path, receiver: Receiver) -> None:
    file = receiver.spot(f"/bucket/{FIRST}", TEXTS[FIRST].encode())

    def send(client: httpx.Client) -> httpx.Response:
        fields = METADATA | {"PreSignedURL": f"{file.url}?signature=of-this-test"}
        return client.post("/s3", files={name: (None, value) for name, value in fields.items()})

    jobs = sent_again(
        Site(root=tmp_path, texts={external_id(FIRST): TEXTS[FIRST]}), send, "commit:take_uploads"
    )

    assert [len(job) for job in jobs] == [1, 1]
    assert len(file.received) == 3


def external_id(name: str) -> str:
    return f"{name}-{content_hash(TEXTS[name].encode())}"


def sent_again(site: Site, send: Send, seam: str, nth: int = 1) -> list[set[int]]:
    """Send a request to an API that dies at a seam, and twice to the next, all under one key.

    The jobs of both answers are the same, and all is embedded once.
    """
    port = free_port()
    site.options |= {"api.key": KEY, "api.port": port, "hooks.allow": "127.0.0.1"}
    headers = {"VectorFlowKey": KEY, "Idempotency-Key": "one"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
        dying = api(site, port, seam, nth)
        with pytest.raises(httpx.TransportError):
            send(client)
        assert dying.wait() == -signal.SIGKILL
        worker = site.start("worker")
        serving = api(site, port)
        jobs = [jobs_of(send(client)), jobs_of(send(client))]
    wait_for(lambda: not site.is_busy(), "the end of the jobs", worker)
    stop(serving)
    stop(worker)
    assert jobs[0] == jobs[1]
    site.check()
    return jobs


def jobs_of(answer: httpx.Response) -> set[int]:
    found = answer.raise_for_status().json()
    return {found["JobID"]} if "JobID" in found else set(found["successful_uploads"].values())


def api(site: Site, port: int, seam: str = "none", nth: int = 1) -> Process:
    """Start an API that accepts connections."""
    process = site.start("api", seam=seam, nth=nth)
    wait_for(lambda: listens(port), "the port", process)
    return process


def stop(process: Process) -> None:
    process.send(signal.SIGTERM)
    assert process.wait() == 0, process.said()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
