"""An API and a worker as processes, and the services around them, which misbehave on demand."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar

import httpx
from aiohttp import web
from sqlalchemy import Connection, func, select, update

from tests.acceptance.api_server import (
    Server,
    running_server,
    running_worker,
    wait_for_end,
    wait_until,
)
from tests.integration.local_servers import Handler, serving
from tests.integration.local_servers import Server as LocalServer
from vectorflow.ledger import reads
from vectorflow.ledger.database import Database
from vectorflow.ledger.reads import FailureView
from vectorflow.ledger.tables import batches, buckets, jobs
from vectorflow.ledger.waits import Waiting
from vectorflow.testing.pinecone_server import PineconeServer
from vectorflow.testing.provider import FakeProvider
from vectorflow.testing.qdrant_server import QdrantServer

T = TypeVar("T")

KEY = "test123"
PROVIDER_KEY = "sk-of-the-provider"
TEXT = "The refund is paid within ten days.\n\nAsk the desk on the second floor.\n"
LOCAL = {"embeddings_type": "SELF_HOSTED", "chunk_size": 64, "chunk_overlap": 8}
OPEN_AI = LOCAL | {"embeddings_type": "OPEN_AI", "model": "text-embedding-3-small"}
OWN_STORE = {"vector_db_type": "LANCEDB", "index_name": "docs", "environment": ""}

HOOK_KEY = {"X-Webhook-Key": "key-of-the-hook"}
MOST_FETCHED = 256 << 10
"""Bytes of a file that is fetched; it also bounds how long that may take."""


class Backstage:
    """An event loop in a thread of its own, for servers of a test that has none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, server: AbstractAsyncContextManager[T]) -> T:
        """Start a server, which is stopped by `close`."""
        return self.run(self._stack.enter_async_context(server))

    def run(self, coroutine: Coroutine[None, None, T]) -> T:
        """Run a coroutine to its end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=60)

    def close(self) -> None:
        """Stop all servers, the last first."""
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(slots=True, kw_only=True)
class Around:
    """What stands around the server: a path of it answers as a test says."""

    server: LocalServer = field(default_factory=lambda: LocalServer(port=0))
    handlers: dict[str, Handler] = field(default_factory=dict[str, Handler])
    received: dict[str, list[dict[str, object]]] = field(
        default_factory=dict[str, list[dict[str, object]]]
    )
    """Bodies in JSON by path, as they came, refused ones too."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    def on(self, path: str, handler: Handler) -> str:
        """Let a handler answer a path, and give its address."""
        self.handlers[path] = handler
        return self.url(path)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note what came as JSON, and answer 200 where no test says otherwise."""
        if request.method == "POST":
            body = self.server.bodies[-1]  # of this request: nothing was awaited since
            self.received.setdefault(request.path, []).append(json.loads(body))
        handler = self.handlers.get(request.path)
        return await handler(request) if handler else web.Response(text="as you like")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All of it."""

    variables: Mapping[str, str]
    """What server and worker were started with; give it to another worker."""
    server: Server
    client: httpx.Client
    database: Database
    provider: FakeProvider
    qdrant: QdrantServer
    pinecone: PineconeServer
    around: Around

    @property
    def qdrant_store(self) -> dict[str, object]:
        """What names the collection `docs`, which is there for both models."""
        return {
            "vector_db_type": "QDRANT",
            "index_name": "docs",
            "environment": self.qdrant.http_url,
        }

    def send(
        self,
        text: str | bytes = TEXT,
        *,
        path: str = "/embed",
        name: str = "rules.txt",
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> httpx.Response:
        """Upload a file with a good form, some fields of it replaced; None leaves one out."""
        data = text.encode() if isinstance(text, str) else text
        part = "file" if path == "/jobs" else "SourceData"
        files = {part: (name, data)}
        return self.client.post(path, data=form(**fields), files=files, headers=headers)

    def fetch(self, url: str, hook: str = "") -> httpx.Response:
        """Let the server fetch a file, and post its vectors to a path if one is given."""
        files = {"nothing": (None, "")}  # makes it multipart
        data = form(PreSignedURL=url, WebhookURL=self.around.url(hook) if hook else None)
        return self.client.post("/s3", data=data, files=files, headers=HOOK_KEY)

    def deliver(
        self,
        text: str | bytes,
        hook: str,
        *,
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> int:
        """Let vectors be posted to a path of what is around, and give the job."""
        url, sent = self.around.url(hook), {**HOOK_KEY, **(headers or {})}
        return job_of(self.send(text, headers=sent, WebhookURL=url, **fields))

    def delivered(self, hook: str) -> list[str]:
        """Texts that arrived at a path, in the order of their batches' arrival."""
        return [str(chunk["text"]) for body in self.around.received[hook] for chunk in chunks(body)]

    def end_of(self, job: int | httpx.Response) -> str:
        """Wait until a job has ended."""
        return wait_for_end(self.client, job if isinstance(job, int) else job_of(job))

    def failure(self, job: int | httpx.Response) -> FailureView:
        """Wait for the end of a job whose one document fails, and give its dead letter."""
        number = job if isinstance(job, int) else job_of(job)
        assert self.end_of(number) == "FAILED"

        def find(connection: Connection) -> list[FailureView]:
            return reads.failures(connection, tenant="default", job=number)

        [failure] = self.database.read_now(find)
        assert failure.message
        return failure

    def paused(self, job: int | httpx.Response) -> dict[str, object]:
        """Wait until a job waits for an operator, and say why it does."""
        number = job if isinstance(job, int) else job_of(job)

        def why() -> dict[str, object] | None:
            find = partial(reads.job, tenant="default", id=number)
            return self.database.read_now(find).paused

        wait_until(lambda: why() is not None)
        said = self.client.get(f"/jobs/{number}/status").json()
        assert said == {"JobStatus": "IN_PROGRESS"}
        return why() or {}

    def waiting(self, job: int | httpx.Response) -> Waiting:
        """Wait until something is away that a job cannot do without, and say what."""
        find = partial(reads.job, tenant="default", id=job if isinstance(job, int) else job_of(job))
        wait_until(lambda: self.database.read_now(find).waiting is not None)
        found = self.database.read_now(find).waiting
        assert found is not None
        return found

    def refused(self, ask: Callable[[], httpx.Response], status: int, code: str) -> str:
        """Give the sentence of a refusal, after which nothing is there that was not before."""
        uploads, count = self._state()
        answer = ask()
        assert answer.status_code == status, answer.text
        sentence = refusal(answer, code)
        left, now = self._state()
        assert left <= uploads  # an ended job before this one may lose its own meanwhile
        assert now == count
        assert self.client.get("/livez").status_code == 200
        return sentence

    @contextmanager
    def in_a_hurry(self) -> Iterator[None]:
        """Let nothing wait between two tries: the time of each is moved to the past."""
        hurried = True

        def hurry() -> None:
            while hurried:
                self.database.write_now(_move_on)
                time.sleep(0.05)

        thread = Thread(target=hurry)
        thread.start()
        try:
            yield
        finally:
            hurried = False
            thread.join()

    def _state(self) -> tuple[set[str], int]:
        """Uploads and jobs that there are."""
        uploads = self.server.data_dir / "blobs" / "uploads"
        kept = {path.name for path in uploads.rglob("*") if path.is_file()}
        count = select(func.count()).select_from(jobs)
        return kept, self.database.read_now(lambda ledger: ledger.execute(count).scalar_one())


@contextmanager
def v0_site(folder: Path, *, worker: bool = True, **variables: str) -> Iterator[Site]:
    """Start everything; the server takes the variables of its environment."""
    backstage = Backstage()
    with ExitStack() as stack:
        stack.callback(backstage.close)
        provider = backstage.start(FakeProvider(keys=[PROVIDER_KEY]))
        qdrant = backstage.start(QdrantServer())
        pinecone = backstage.start(PineconeServer())
        around = Around()
        around.server = backstage.start(serving(around.answer))
        backstage.run(pinecone.add_index("docs", dimension=64))
        make_collection(qdrant, "docs", 64)
        given = {
            "INTERNAL_API_KEY": KEY,
            "OPENAI_BASE_URL": provider.url,
            "VECTORFLOW_API__MAX_BATCH_BYTES": str(MOST_FETCHED),
            "VECTORFLOW_HOOKS__ALLOW": f"127.0.0.1:{around.server.port}",
            "VECTORFLOW_HOOKS__TIMEOUT": "1",
            "VECTORFLOW_PINECONE__CONTROL_URL": pinecone.url,
            "VECTORFLOW_WORKER__POLL_SECONDS": "0.05",
        } | variables
        data_dir = folder / "data"
        server = stack.enter_context(running_server(data_dir, **given))
        if worker:
            stack.enter_context(running_worker(data_dir, **given))
            log = data_dir.with_name("worker.log")
            wait_until(lambda: "worker_started" in log.read_text("utf-8"))
        ledger = f"sqlite:///{data_dir / 'ledger.db'}"
        database = Database(variables.get("VECTORFLOW_DATABASE__URL", ledger))
        stack.callback(database.close)
        yield Site(
            variables=given,
            server=server,
            client=stack.enter_context(server.client(VectorFlowKey=KEY)),
            database=database,
            provider=provider,
            qdrant=qdrant,
            pinecone=pinecone,
            around=around,
        )


def _move_on(connection: Connection) -> None:
    connection.execute(update(batches).where(batches.c.state == "ready").values(run_at=0.0))
    connection.execute(update(buckets).where(buckets.c.state == "paused").values(paused_until=0.0))


def form(**fields: object) -> dict[str, str]:
    """Fields of a good form, with some replaced; None leaves one out."""
    good: dict[str, object] = {"EmbeddingsMetadata": LOCAL, "VectorDBMetadata": OWN_STORE}
    given = {name: value for name, value in (good | fields).items() if value is not None}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }


def job_of(answer: httpx.Response) -> int:
    """The job of an upload that was taken."""
    assert answer.status_code == 200, answer.text
    job: int = answer.json()["JobID"]
    return job


def refusal(answer: httpx.Response, code: str) -> str:
    """The sentence of a refusal, which is in a JSON object as every answer, and says what to do."""
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["code"] == code, said
    sentence: str = said["error"]
    assert "; " in sentence, sentence  # what is wrong; what to do
    return sentence


def chunks(body: Mapping[str, object]) -> list[dict[str, object]]:
    """The chunks of a delivery."""
    found = body["Embeddings"]
    assert isinstance(found, list)
    return found


def make_collection(qdrant: QdrantServer, name: str, size: int) -> None:
    """Make a collection as its owner would."""
    wanted = {"vectors": {"size": size, "distance": "Cosine"}}
    httpx.put(f"{qdrant.http_url}/collections/{name}", json=wanted).raise_for_status()


def points(qdrant: QdrantServer, name: str = "docs") -> list[dict[str, object]]:
    """The payloads of a collection, without those that are nobody's text."""
    asked = {"limit": 1000, "with_payload": True}
    url = f"{qdrant.http_url}/collections/{name}/points/scroll"
    found = httpx.post(url, json=asked).raise_for_status().json()["result"]["points"]
    return [point["payload"] for point in found if "source_text" in point["payload"]]
