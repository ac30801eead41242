"""An API that dies before it answers: the same request again makes one job of one document."""

import json
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.acceptance import corpus
from tests.acceptance.kill_site import Process, Site, wait_for

pytestmark = pytest.mark.slow

KEY = "a-key-of-this-test"
NAME = "told.txt"
FORM = {
    "EmbeddingsMetadata": json.dumps({"embeddings_type": "SELF_HOSTED", "chunk_size": 64}),
    "VectorDBMetadata": json.dumps({"vector_db_type": "lancedb", "index_name": "default"}),
    "DocumentID": NAME,
}
"""An upload of the v0 API."""


@pytest.mark.parametrize("seam", ["put:uploads", "transaction:accept", "commit:accept"])
def test_a_request_that_got_no_answer_can_be_sent_again(tmp_path: Path, seam: str) -> None:
    text = corpus.made_text("told", 900)
    port = free_port()
    site = Site(root=tmp_path, options={"api.key": KEY, "api.port": port})
    site.texts[NAME] = text
    dying = api(site, port, seam)

    with pytest.raises(httpx.TransportError):
        upload(port, text)
    assert dying.wait() == -signal.SIGKILL
    worker = site.start("worker")
    serving = api(site, port)
    jobs = {upload(port, text), upload(port, text)}
    wait_for(lambda: not site.is_busy(), "the end of the job", worker)
    stop(serving)
    stop(worker)

    assert len(jobs) == 1
    site.check()


def upload(port: int, text: str) -> int:
    """Send a document, always under the same Idempotency-Key, and give its job."""
    answer = httpx.post(
        f"http://127.0.0.1:{port}/embed",
        headers={"VectorFlowKey": KEY, "Idempotency-Key": "one"},
        data=FORM,
        files={"SourceData": (NAME, text.encode())},
        timeout=30,
    )
    answer.raise_for_status()
    job: int = answer.json()["JobID"]
    return job


def api(site: Site, port: int, seam: str = "none") -> Process:
    """Start an API that accepts connections."""
    process = site.start("api", seam=seam)
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
