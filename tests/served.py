"""The real API on a real socket, served by a thread of the test's own process."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvicorn

from vectorflow.adapters._work_client import WorkClient
from vectorflow.adapters.blob_stores.http import BlobCache, HttpBlobStore
from vectorflow.adapters.work.http import HttpWork
from vectorflow.settings import Settings, load
from vectorflow.testing.workplace import Workplace
from vectorflow.wiring import Parts
from vectorflow.wiring.api import build_api

KEY = "the-key"


@dataclass(slots=True)
class Thread:
    """A server that can be stopped, and started again at the same address."""

    settings: Settings
    listener: socket.socket
    server: uvicorn.Server | None = None
    thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def start(self) -> None:
        started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)))
        self.thread.start()
        assert started.wait(30), "the API does not start"

    def stop(self) -> None:
        """Stop; who connects meanwhile waits for the next start."""
        assert self.server is not None
        assert self.thread is not None
        self.server.should_exit = True
        self.thread.join(30)
        self.server = None

    async def _serve(self, started: threading.Event) -> None:
        async with Parts(self.settings) as parts:
            parts.blobs.claim()  # what workers are given here may name blobs that nobody put there
            config = uvicorn.Config(
                build_api(parts), log_config=None, access_log=False, lifespan="off",
                timeout_graceful_shutdown=1,
            )  # fmt: skip
            self.server = uvicorn.Server(config)
            started.set()
            await self.server.serve([self.listener.dup()])


@contextmanager
def served(settings: Settings) -> Iterator[Thread]:
    """Serve the API of a data directory, whose duties nobody sees to."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = Thread(settings, listener)
        thread.start()
        try:
            yield thread
        finally:
            if thread.server is not None:
                thread.stop()


@asynccontextmanager
async def http_work(url: str, name: str, key: str = KEY) -> AsyncIterator[HttpWork]:
    """Give the port `work` of a worker that reaches only the API."""
    async with WorkClient(url, key, worker=name) as client:
        yield HttpWork(client, partial(HttpBlobStore, client, BlobCache()))


@asynccontextmanager
async def http_place(place: Workplace, folder: Path) -> AsyncIterator[Workplace]:
    """Let the workers of a ledger reach it over HTTP only."""
    database = place.database
    given = {"data_dir": folder, "embedder": "hash:8", "api.key": KEY}
    if not database.embedded:
        given["database.url"] = database.url.render_as_string(hide_password=False)
    with served(load(given, environ={}, directory=folder)) as api:
        async with http_work(api.url, "here") as here, http_work(api.url, "there") as there:
            workers = {"here": here, "there": there}
            yield replace(place, worker=workers.__getitem__)
