import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from tests.acceptance.cli_process import COMMAND, environment, vectorflow
from vectorflow.worker.seat import seat_taken

Up = Callable[..., "Server"]
T = TypeVar("T")


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the worker through /proc"),
]


class Server:
    """A running `vectorflow up`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with (folder / "up.log").open("a") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--port", "0", "--json", *arguments],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(VECTORFLOW_WORKER__SHUTDOWN_GRACE="2"),
            )
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "}\n")
        said = json.loads("".join(lines) + "}")
        self.url, self.key = said["url"], said["key"]

    def worker(self) -> int:
        """Process id of the worker, once it runs."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return eventually(lambda: int((children.read_text().split() or ["0"])[0]))

    def post(self, name: str, text: str) -> httpx.Response:
        """Send a document the way clients of v0 do."""
        return httpx.post(
            f"{self.url}/embed",
            headers={"VectorFlowKey": str(self.key)},
            files={"SourceData": (name, text.encode())},
            data={
                "EmbeddingsMetadata": json.dumps(
                    {"embeddings_type": "self_hosted", "chunk_size": 100, "chunk_overlap": 10}
                ),
                "VectorDBMetadata": json.dumps(
                    {"vector_db_type": "lancedb", "index_name": "default"}
                ),
            },
            trust_env=False,
            timeout=30,
        )

    def status(self, job: int) -> str:
        """Read the state of a job."""
        answer = httpx.get(
            f"{self.url}/jobs/{job}/status",
            headers={"VectorFlowKey": str(self.key)},
            trust_env=False,
            timeout=30,
        )
        return str(answer.json()["JobStatus"])


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Starts servers that are gone after the test."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(Server(tmp_path, *arguments))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.communicate()


def eventually(look: Callable[[], T]) -> T:
    """Wait until something is found."""
    for _ in range(600):
        if found := look():
            return found
        time.sleep(0.05)
    pytest.fail("waited for half a minute in vain")


def holder(folder: Path) -> str | None:
    """Process id of the worker that has the seat."""
    return seat_taken(folder / ".vectorflow" / "worker.lock")


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_up_embeds_what_it_is_sent_and_its_worker_is_replaced_when_it_dies(
    up: Up, tmp_path: Path
) -> None:
    server = up()
    worker = server.worker()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: server.worker() not in {0, worker} and holder(tmp_path))

    answer = server.post("note.txt", "Refunds are paid within 14 days.")

    beside = vectorflow(tmp_path, "embed", "-", stdin="Returns are free.")

    assert answer.status_code == 200, answer.text
    assert beside.code == 0
    assert "works on this data directory and embeds this too" in beside.err
    job = answer.json()["JobID"]
    assert eventually(lambda: server.status(job) == "COMPLETED")
    assert server.worker() != worker


def test_the_worker_ends_when_the_server_is_killed(up: Up) -> None:
    server = up()
    worker = server.worker()

    server.process.kill()

    assert eventually(lambda: is_gone(worker))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_server_and_worker_in_good_order(up: Up, number: signal.Signals) -> None:
    server = up()
    worker = server.worker()

    server.process.send_signal(number)

    assert server.process.wait(30) == 0
    assert is_gone(worker)


def test_the_key_is_shown_once_and_only_its_hash_is_kept(up: Up, tmp_path: Path) -> None:
    server = up()
    server.process.terminate()
    server.process.wait(30)

    again = up()

    assert str(server.key).startswith("vf_")
    assert again.key is None
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.db" for path in kept)
    assert not any(str(server.key).encode() in path.read_bytes() for path in kept)
