"""A server in a process of its own, and an older client of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.measuring import environment

LOCAL = '{"embeddings_type":"SELF_HOSTED"}'
"""The embedder that the server was started with."""
STORE = '{"vector_db_type":"LANCEDB","index_name":"default","environment":""}'
ENDED = {"COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"}
LOOK_SECONDS = 0.2
CLOSING_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running `vectorflow up` or `vectorflow api`."""

    url: str
    key: str
    pid: int

    def client(self) -> httpx.Client:
        """Make a client with the server's key."""
        headers = {"Authorization": self.key}
        return httpx.Client(base_url=self.url, headers=headers, timeout=300)


@contextmanager
def serving(command: str, data: Path, **variables: str) -> Iterator[Server]:
    """Run a server on a data directory until the end of the block."""
    data.parent.mkdir(parents=True, exist_ok=True)
    start = [sys.executable, "-m", "vectorflow.cli", command, "--port", "0", "--json"]
    process = subprocess.Popen(  # noqa: S603
        [*start, "--data-dir", data],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = _said(process)
        yield Server(url=said["url"], key=said["key"], pid=process.pid)
    finally:
        _stop(process)


def upload(
    client: httpx.Client, path: Path, *, name: str | None = None, embeddings: str = LOCAL
) -> int:
    """Send a file to `/jobs` as a stream and give its job."""
    named = name or path.name
    form = {"EmbeddingsMetadata": embeddings, "VectorDBMetadata": STORE}
    with path.open("rb") as file:
        answer = client.post("/jobs", data=form, files={"file": (named, file)})
    answer.raise_for_status()
    jobs: dict[str, int] = answer.json()["successful_uploads"]
    return jobs[named]


def status(client: httpx.Client, job: int) -> str:
    """Ask how a job stands."""
    said: str = client.get(f"/jobs/{job}/status").raise_for_status().json()["JobStatus"]
    return said


def wait(client: httpx.Client, job: int, seconds: float) -> None:
    """Wait until a job has completed.

    Raises:
        RuntimeError: It did not, or not in that time.
    """
    ends = time.monotonic() + seconds
    while (now := status(client, job)) not in ENDED:
        if time.monotonic() > ends:
            message = f"job {job} is {now} after {seconds:.0f} s"
            raise RuntimeError(message)
        time.sleep(LOOK_SECONDS)
    if now != "COMPLETED":
        message = f"job {job} ended as {now}"
        raise RuntimeError(message)


def _said(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Read the JSON object that a server prints when it answers."""
    lines = ""
    for line in process.stdout or ():
        lines += line
        if line.rstrip().endswith("}"):
            found: dict[str, str] = json.loads(lines)
            return found
    message = f"the server ended with {process.wait()}"
    raise RuntimeError(message)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=CLOSING_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
