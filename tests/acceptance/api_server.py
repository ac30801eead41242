"""A server process on a data directory of its own, and what older clients send to it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

EMBEDDINGS = '{"embeddings_type":"SELF_HOSTED","chunk_size":64,"chunk_overlap":8}'
STORE = '{"vector_db_type":"LANCEDB","index_name":"docs-1","environment":""}'
FORM = {"EmbeddingsMetadata": EMBEDDINGS, "VectorDBMetadata": STORE, "LinesPerBatch": "1000"}
ENDED = {"COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running API."""

    url: str
    key: str
    pid: int
    data_dir: Path

    def client(self, **headers: str) -> httpx.Client:
        given = headers or {"Authorization": self.key}
        return httpx.Client(base_url=self.url, headers=given, timeout=60)

    def connect(self) -> socket.socket:
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname or "", place.port or 0), timeout=60)

    def head(self, path: str, length: int, **headers: str) -> bytes:
        """The beginning of a form whose body is written by hand."""
        lines = [f"POST {path} HTTP/1.1", "Host: api", f"Content-Length: {length}"]
        lines.append("Content-Type: multipart/form-data; boundary=edge")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()


def written_form(name: str, data: bytes, fields: Mapping[str, str] = FORM) -> bytes:
    """A form in the order of older clients; their file part has no content type."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    head = f'--edge\r\nContent-Disposition: form-data; name="SourceData"; filename="{name}"'
    return "".join([*parts, head, "\r\n\r\n"]).encode() + data + b"\r\n--edge--\r\n"


@contextmanager
def running_server(data_dir: Path, *, command: str = "api", **variables: str) -> Iterator[Server]:
    """Start an API; what it says on stderr is in `api.log` beside the data directory.

    The command `up` starts a worker too, and says all in `up.log`.
    """
    process = _started(command, data_dir, ["--port", "0", "--json"], variables)
    try:
        assert process.stdout is not None
        said = json.loads(_json_of(process))
        key = said["key"] or variables["INTERNAL_API_KEY"]
        yield Server(url=said["url"], key=key, pid=process.pid, data_dir=data_dir)
    finally:
        _stop(process)


@contextmanager
def running_worker(data_dir: Path, **variables: str) -> Iterator[None]:
    process = _started("worker", data_dir, [], variables)
    try:
        yield
    finally:
        _stop(process)


def page_of_worker(data_dir: Path, command: str = "worker") -> str:
    """What the worker that was started last tells monitoring systems, where it says it does."""
    log = data_dir.with_name(f"{command}.log")
    told = re.compile(r"metrics_told.*?(http://[\d.:]+/metrics)")
    wait_until(lambda: bool(told.search(log.read_text("utf-8"))))
    answer = httpx.get(told.findall(log.read_text("utf-8"))[-1], timeout=30)
    assert answer.status_code == 200
    return answer.text


def wait_for_end(client: httpx.Client, job: int) -> str:
    def status() -> str:
        return str(client.get(f"/jobs/{job}/status").json()["JobStatus"])

    wait_until(lambda: status() in ENDED)
    return status()


def wait_until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends, "it does not come true"
        time.sleep(0.05)


def _started(
    command: str, data_dir: Path, options: list[str], variables: Mapping[str, str]
) -> "subprocess.Popen[str]":
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {"VECTORFLOW_BLOBS__FREE_FLOOR_BYTES": "0", "VECTORFLOW_EMBEDDER": "hash:64"}
    environ |= variables
    start = [sys.executable, "-m", "vectorflow.cli", command, "--data-dir", str(data_dir)]
    with data_dir.with_name(f"{command}.log").open("ab") as log:
        return subprocess.Popen(
            [*start, *options],
            env=environ,
            cwd=data_dir.parent,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _json_of(process: "subprocess.Popen[str]") -> str:
    """What it prints once it answers: one JSON object, on one line or several."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.rstrip().endswith("}"):
            return said
    message = f"the server did not start: exit code {process.wait()}; see api.log"
    raise AssertionError(message)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
