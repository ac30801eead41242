"""A server that is asked as clients of v0 ask, and a worker beside it: for the checks of a page."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from aiohttp import web

import vectorflow as vf
from tests.integration.local_servers import Server, serving
from tests.unit.api.door import KEY, form
from vectorflow import settings
from vectorflow.service.search import Hit
from vectorflow.wiring import Parts
from vectorflow.wiring.api import build_api

TEXT = b"The refund is paid within ten days.\n\nAsk the desk on the second floor.\n"
ENDED = {"COMPLETED", "PARTIALLY_COMPLETED", "FAILED", "CANCELLED"}
LOCAL = {"embeddings_type": "SELF_HOSTED", "chunk_size": 64, "chunk_overlap": 8}
OPEN_AI = LOCAL | {"embeddings_type": "OPEN_AI"}

Keep = Callable[[list[dict[str, object]]], object]
"""Chunks of a validation -> those to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An API and a worker on one data directory."""

    client: httpx.AsyncClient
    parts: Parts

    async def send(
        self,
        path: str = "/embed",
        text: bytes = TEXT,
        *,
        name: str = "rules.txt",
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> httpx.Response:
        """Upload a file with a good form; fields replace its own, and None leaves one out."""
        part = "file" if path == "/jobs" else "SourceData"
        given = {"EmbeddingsMetadata": LOCAL} | fields
        return await self.client.post(
            path, data=form(**given), files={part: (name, text)}, headers=headers
        )

    async def end_of(self, answer: httpx.Response) -> str:
        """Wait until the job of an answer has ended."""
        assert answer.status_code == 200, answer.text
        job = answer.json()["JobID"]
        for _ in range(3000):
            if (status := await self.status(job)) in ENDED:
                return status
            await asyncio.sleep(0.02)
        raise AssertionError(f"job {job} does not end")

    async def status(self, job: int) -> str:
        answer = await self.client.get(f"/jobs/{job}/status")
        return str(answer.json()["JobStatus"])

    async def hits(self, index: str = "docs", k: int = 100) -> list[Hit]:
        """All chunks of the server's own store."""
        async with vf.aopen(self.parts.settings) as flow:
            return await flow.search("refund", index=index, k=k)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """Where checks start servers."""

    folder: Path
    patch: pytest.MonkeyPatch

    @asynccontextmanager
    async def server(self, given: Mapping[str, object] | None = None) -> AsyncIterator[Running]:
        """Start a server that has a key, and a store in memory unless told otherwise."""
        chosen: dict[str, object] = {
            "data_dir": self.folder,
            "embedder": "hash:8",
            "store": f"memory://{uuid.uuid4().hex}",
            "api.key": f"{KEY},older-key",
            "api.max_upload_bytes": 1 << 20,
            "blobs.free_floor_bytes": 0,
            "hooks.allow": "127.0.0.1",
            "worker.poll_seconds": 0.02,
        }
        made = settings.load(chosen | dict(given or {}), environ={}, directory=self.folder)
        stop = asyncio.Event()
        async with Parts(made) as parts:
            worker = asyncio.create_task(parts.run_worker(stop))
            transport = httpx.ASGITransport(build_api(parts))
            headers = {"VectorFlowKey": KEY}
            try:
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://api", headers=headers, timeout=30
                ) as client:
                    yield Running(client=client, parts=parts)
            finally:
                stop.set()
                await worker


@asynccontextmanager
async def hook(
    *statuses: int, keep: Callable[[list[dict[str, object]]], object] = list
) -> AsyncIterator[Server]:
    """Start what is called by the server: it answers with these statuses and 200 from then on.

    A validation is answered with what `keep` makes of its chunks, a `GET` with a file.
    """
    left = list(statuses)

    async def answer(request: web.Request) -> web.StreamResponse:
        status = left.pop(0) if left else 200
        if request.method == "GET":
            return web.Response(body=TEXT, status=status)
        asked = json.loads(found.bodies[-1])
        return web.json_response({"valid_chunks": keep(asked.get("chunks", []))}, status=status)

    async with serving(answer) as found:
        yield found


Check = Callable[[Lab], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Make a function the check of the rows that name it."""

    def keep(function: Check) -> Check:
        assert name not in CHECKS, name
        CHECKS[name] = function
        return function

    return keep
