"""A server, a worker and what they call; and requests as existing clients send them."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from sqlalchemy import Connection

from tests.acceptance.api_server import (
    Server,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
)
from tests.acceptance.cli_process import Ran, vectorflow
from tests.acceptance.outside import Outside, Receiver, running_outside
from vectorflow.ledger import reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import FailureView
from vectorflow.testing.provider import vector_of

T = TypeVar("T")

KEY = "test123"
MODEL = "text-embedding-ada-002"
DIMENSIONS = 1536

OPEN_AI = {
    "embeddings_type": "OPEN_AI",
    "chunk_size": 256,
    "chunk_overlap": 128,
    "chunk_strategy": "EXACT",
}
"""What existing clients send where nobody tells them otherwise."""

LOCAL = {"embeddings_type": "SELF_HOSTED", "chunk_size": 64, "chunk_overlap": 0}
OWN_STORE = {"vector_db_type": "LANCEDB", "index_name": "docs", "environment": ""}

TEXT = "The refund is paid within ten days.\n\nAsk the desk on the second floor.\n"

ORDER = (
    "EmbeddingsMetadata",
    "VectorDBMetadata",
    "WebhookURL",
    "LinesPerBatch",
    "DocumentID",
    "ChunkValidationURL",
)
"""Of the fields as existing clients send them; what they do not know stands behind."""

Json = Mapping[str, object]
Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What Qdrant's own client shows of a record."""

    id: str
    payload: dict[str, object]
    vector: Matrix

    @property
    def text(self) -> str:
        return str(self.payload["source_text"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All of it, running."""

    server: Server
    outside: Outside
    receiver: Receiver
    client: httpx.Client
    local: str
    """The name in LOCAL_VECTOR_DB."""
    variables: Mapping[str, str]
    """Of both processes."""

    def qdrant(self, index: str) -> dict[str, str]:
        """Name a collection as older clients do."""
        return {"vector_db_type": "QDRANT", "index_name": index, "environment": self.local}

    def embed(
        self,
        text: str | bytes = TEXT,
        name: str = "rules.txt",
        *,
        headers: Mapping[str, str] | None = None,
        path: str = "/embed",
        **fields: object,
    ) -> httpx.Response:
        """Send one file; its part has no content type."""
        data = text.encode() if isinstance(text, str) else text
        part = _head(f'name="SourceData"; filename="{name}"') + data + b"\r\n"
        return self._post(path, _fields(fields) + part, headers)

    def upload(
        self,
        files: Sequence[tuple[str, str | bytes]],
        *,
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> httpx.Response:
        """Send many files; their parts are octet streams."""
        body = [_fields(fields)]
        for name, text in files:
            kind = b"Content-Type: application/octet-stream\r\n"
            data = text.encode() if isinstance(text, str) else text
            body += [_head(f'name="file"; filename="{name}"', kind), data, b"\r\n"]
        return self._post("/jobs", b"".join(body), headers)

    def end(self, answer: httpx.Response | int) -> str:
        """Wait for the end of a job, given by its answer or number, and give its status."""
        return wait_for_end(self.client, answer if isinstance(answer, int) else job_of(answer))

    def embedded(
        self,
        text: str = TEXT,
        name: str = "rules.txt",
        *,
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> int:
        """Send one file, wait until it is searchable, and give its job."""
        answer = self.embed(text, name, headers=headers, **fields)
        assert self.end(answer) == "COMPLETED"
        return job_of(answer)

    def status(self, job: int) -> str:
        return str(self.client.get(f"/jobs/{job}/status").json()["JobStatus"])

    def make_collection(self, name: str, dimensions: int = DIMENSIONS, key: str = "") -> None:
        """Make a collection as its owner would."""
        with self._qdrant(key) as client:
            size = models.VectorParams(size=dimensions, distance=models.Distance.COSINE)
            client.create_collection(name, vectors_config=size)

    def points(self, collection: str, key: str = "") -> list[Point]:
        """Read all records of a collection with Qdrant's own client."""
        with self._qdrant(key) as client:
            found, more = client.scroll(collection, limit=10_000, with_vectors=True)
        assert more is None
        return [
            Point(
                id=str(one.id),
                payload=one.payload or {},
                vector=np.array(one.vector, dtype=np.float32),
            )
            for one in found
        ]

    def paused(self, job: int) -> dict[str, object]:
        """Wait until a job waits for an operator, and say why it does."""
        find = partial(reads.job, tenant="default", id=job)
        wait_until(lambda: self.read(find).paused is not None)
        assert self.status(job) == "IN_PROGRESS"
        return self.read(find).paused or {}

    def failures(self, job: int) -> list[FailureView]:
        """Give the dead letters of a job."""
        find = partial(reads.failures, tenant="default", job=job)
        return self.read(find)

    def read(self, transaction: Callable[[Connection], T]) -> T:
        """Ask the ledger."""
        database = Database(f"sqlite:///{self.server.data_dir / 'ledger.db'}")
        try:
            return database.read_now(transaction)
        finally:
            database.close()

    def command(self, *arguments: str, stdin: str = "") -> Ran:
        """Run a command on the data directory, beside the server."""
        data_dir = ("--data-dir", str(self.server.data_dir))
        return vectorflow(
            self.server.data_dir.parent, *arguments, *data_dir, stdin=stdin, **self.variables
        )

    def _post(self, path: str, parts: bytes, headers: Mapping[str, str] | None) -> httpx.Response:
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        return self.client.post(
            f"{self.server.url}{path}",
            content=parts + b"--edge--\r\n",
            headers=kind | dict(headers or {}),
        )

    @contextmanager
    def _qdrant(self, key: str) -> Iterator[QdrantClient]:
        headers = {"api-key": key} if key else {}  # as `api_key` it warns that there is no TLS
        client = QdrantClient(url=self.outside.qdrant, metadata=headers, timeout=30)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def running_site(
    data_dir: Path,
    *,
    key: str = KEY,
    qdrant_key: str = "",
    provider_keys: Sequence[str] = (),
    **variables: str,
) -> Iterator[Site]:
    """Start it; `variables` are the environment of server and worker."""
    with ExitStack() as stack:
        outside = stack.enter_context(
            running_outside(qdrant_key=qdrant_key, provider_keys=provider_keys)
        )
        receiver = stack.enter_context(Receiver())
        local = variables.get("LOCAL_VECTOR_DB", outside.qdrant)
        given = {
            "LOCAL_VECTOR_DB": local,
            "OPENAI_BASE_URL": outside.provider,
            "VECTORFLOW_PINECONE__CONTROL_URL": outside.pinecone,
            "VECTORFLOW_HOOKS__ALLOW": "127.0.0.1",
            "VECTORFLOW_LOG__JSON": "true",
            "VECTORFLOW_LOG__LEVEL": "debug",
            "VECTORFLOW_WORKER__POLL_SECONDS": "0.05",
            "VECTORFLOW_WORKER__SHUTDOWN_GRACE": "1",
        } | variables
        stack.enter_context(running_worker(data_dir, **given))
        server = stack.enter_context(running_server(data_dir, INTERNAL_API_KEY=key, **given))
        client = stack.enter_context(server.client(Authorization=key))
        yield Site(
            server=server,
            outside=outside,
            receiver=receiver,
            client=client,
            local=local,
            variables=given,
        )


def job_of(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    job: int = answer.json()["JobID"]
    return job


def batches_of(answer: httpx.Response) -> int:
    """N of the sentence that an upload is answered with."""
    message = answer.json()["message"]
    start, end = "Successfully added ", " batches to the queue"
    assert message.startswith(start), message
    assert message.endswith(end), message
    return int(message.removeprefix(start).removesuffix(end))


def is_vector_of(vector: object, text: str) -> bool:
    """Whether it is what the provider gives for a text."""
    given, expected = np.array(vector, dtype=np.float32), vector_of(text, DIMENSIONS, MODEL)
    return given.shape == expected.shape and bool(np.allclose(given, expected, atol=1e-6))


def own_address() -> str:
    """Give an address of this machine that no other process of these tests uses."""
    first, second = divmod(os.getpid(), 254)
    return f"127.{1 + first // 254 % 254}.{first % 254}.{1 + second}"


def lines(count: int, what: str = "Line") -> str:
    return "".join(f"{what} {number} says that {number} is a number.\n" for number in range(count))


def _fields(given: Mapping[str, object]) -> bytes:
    good: dict[str, object] = {
        "EmbeddingsMetadata": LOCAL,
        "VectorDBMetadata": OWN_STORE,
        "LinesPerBatch": "1000",
    }
    fields = {name: value for name, value in (good | dict(given)).items() if value is not None}
    known = [name for name in ORDER if name in fields]
    return b"".join(
        _head(f'name="{name}"') + _text(fields[name]).encode() + b"\r\n"
        for name in [*known, *(set(fields) - set(known))]
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _head(disposition: str, more: bytes = b"") -> bytes:
    return f"--edge\r\nContent-Disposition: form-data; {disposition}\r\n".encode() + more + b"\r\n"
