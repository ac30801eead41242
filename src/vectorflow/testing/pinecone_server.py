"""An emulator of Pinecone: its control plane and both data planes, with the published limits.

    async with PineconeServer() as server:
        host = await server.add_index("docs", dimension=4)

or `python -m vectorflow.testing.pinecone_server --port 0`, which prints its address. Nothing is
kept on disk. Every index answers at a port of its own, as every index of Pinecone has its host.
"""

import argparse
import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import orjson
from aiohttp import web

from vectorflow.testing.pinecone_data import CLASSIC_FIELD, MAX_BODY, Index, Refusal
from vectorflow.testing.pinecone_planes import Answer, data_routes

KEY = "pinecone-test-key"
_READY = {"ready": True, "state": "Ready"}
_CLOUD = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
_METRICS = ("cosine", "dotproduct", "euclidean")


@dataclass(slots=True, kw_only=True)
class Fault:
    """What the next requests for a path answer instead of doing what they ask."""

    path: str
    """A part of the path, such as `/upsert`."""
    status: int = 503
    """0 breaks the connection."""
    times: int = 1
    retry_after: float | None = None
    late: bool = False
    """Do what was asked first, as when an answer gets lost."""


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong; may be changed at any time."""

    answers: list[Fault] = field(default_factory=list[Fault])
    delay: float = 0.0
    """Seconds after which a write shows."""
    lsn: bool = True
    """Whether answers carry log sequence numbers."""
    max_body: int = MAX_BODY
    refused: set[str] = field(default_factory=set[str])
    """Ids of records that make an upsert fail."""
    lost: set[str] = field(default_factory=set[str])
    """Ids of records that an upsert leaves out, and does not count."""
    seconds: float = 0.0
    """How long every answer takes."""


class PineconeServer:
    """Projects are told apart by their keys: `keys` maps a key to the name of its project."""

    def __init__(self, *, keys: Mapping[str, str] | None = None, port: int = 0) -> None:
        self.faults = Faults()
        self.requests: list[str] = []
        """Method and path of every request so far."""
        self.url = ""
        """Address of the control plane."""
        self._keys = {KEY: "project"} if keys is None else dict(keys)
        self._port = port
        self._indexes: dict[int, Index] = {}
        application = web.Application(middlewares=[self._answered], client_max_size=1 << 30)
        application.add_routes(
            [
                web.get("/indexes", self._list),
                web.post("/indexes", self._create),
                web.get("/indexes/{name}", self._describe),
                web.delete("/indexes/{name}", self._delete),
                web.post("/emulator/faults", self._set_faults),
                *data_routes(self._index_of, self.faults),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        self.url = f"http://127.0.0.1:{await self._listen(self._port)}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def add_index(
        self,
        name: str,
        *,
        dimension: int = 4,
        metric: str = "cosine",
        documents: bool = False,
        project: str = "project",
    ) -> str:
        """Make an index and give its host; with `documents` its vector field is `embedding`."""
        vector = "embedding" if documents else CLASSIC_FIELD
        fields = {vector: {"type": "dense_vector", "dimension": dimension, "metric": metric}}
        index = await self._add(name, fields, project)
        return index.host

    def index(self, name: str, project: str = "project") -> Index:
        """Give an index, to look at what it holds."""
        for index in self._indexes.values():
            if (index.name, index.project) == (name, project):
                return index
        raise Refusal(404, f"Resource {name} not found")

    def remove_index(self, name: str, project: str = "project") -> None:
        """Delete an index; its host answers 404 from now on."""
        index = self.index(name, project)
        self._indexes = {port: one for port, one in self._indexes.items() if one is not index}

    async def _listen(self, port: int) -> int:
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return int(self._runner.addresses[-1][1])

    async def _add(self, name: str, fields: Mapping[str, object], project: str) -> Index:
        dense = [
            (key, value)
            for key, value in fields.items()
            if isinstance(value, dict) and value.get("type") == "dense_vector"
        ]
        if len(dense) != 1 or dense[0][1].get("metric") not in _METRICS:
            raise Refusal(400, "the emulator takes schemas with exactly one dense vector")
        index = Index(
            name=name,
            project=project,
            fields={key: value for key, value in fields.items() if isinstance(value, dict)},
            vector_field=dense[0][0],
            dimension=int(dense[0][1]["dimension"]),
            metric=str(dense[0][1]["metric"]),
        )
        port = await self._listen(0)
        index.host = f"127.0.0.1:{port}"
        self._indexes[port] = index
        return index

    def _project_of(self, request: web.Request) -> str:
        project = self._keys.get(request.headers.get("Api-Key", ""))
        if project is None:
            raise Refusal(401, "Invalid API Key")
        return project

    def _index_of(self, request: web.Request) -> Index:
        """Give the index that answers at this port."""
        assert request.transport is not None
        port = int(request.transport.get_extra_info("sockname")[1])
        index = self._indexes.get(port)
        if index is None:
            raise Refusal(404, "Index not found")
        if index.project != self._project_of(request):
            raise Refusal(403, "The API key does not belong to the project of this index")
        return index

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        try:
            return await self._answer(request, handler)
        except Refusal as refusal:
            return _error(refusal)
        except web.HTTPException as error:
            return _error(Refusal(error.status, error.reason))
        except (KeyError, TypeError, ValueError, AttributeError):
            return _error(Refusal(400, "the request has another shape"))

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        await asyncio.sleep(self.faults.seconds)
        fault = self._fault(request.path)
        if fault is not None and not fault.late:
            raise self._refusal(request, fault)
        size = len(await request.read())
        if size > self.faults.max_body:
            raise Refusal(413, f"message length too large: found {size} bytes")
        answer = await handler(request)
        if fault is not None:
            raise self._refusal(request, fault)
        return answer

    def _refusal(self, request: web.Request, fault: Fault) -> Refusal:
        if fault.status == 0 and request.transport:
            request.transport.abort()
        return Refusal(fault.status or 500, "an emulated fault", retry_after=fault.retry_after)

    def _fault(self, path: str) -> Fault | None:
        for fault in self.faults.answers:
            if fault.times > 0 and fault.path in path:
                fault.times -= 1
                return fault
        return None

    async def _set_faults(self, request: web.Request) -> web.Response:
        given = orjson.loads(await request.read())
        for name, value in given.items():
            if name == "answers":
                self.faults.answers[:] = [Fault(**one) for one in value]
            else:
                setattr(self.faults, name, set(value) if isinstance(value, list) else value)
        return Answer({})

    async def _list(self, request: web.Request) -> web.Response:
        project = self._project_of(request)
        found = [one for one in self._indexes.values() if one.project == project]
        return Answer({"indexes": [_described(index) for index in found]})

    async def _describe(self, request: web.Request) -> web.Response:
        project = self._project_of(request)
        return Answer(_described(self.index(request.match_info["name"], project)))

    async def _create(self, request: web.Request) -> web.Response:
        project, given = self._project_of(request), orjson.loads(await request.read())
        name = given.get("name") or f"index-{secrets.token_hex(4)}"
        with contextlib.suppress(Refusal):
            self.index(name, project)
            return _error(Refusal(409, f"Resource {name} already exists"))
        index = await self._add(name, given["schema"]["fields"], project)
        return Answer(_described(index), status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        self.remove_index(request.match_info["name"], self._project_of(request))
        return Answer({}, status=202)


def _described(index: Index) -> dict[str, object]:
    return {
        "name": index.name,
        "host": f"http://{index.host}",
        "status": _READY,
        "schema": {"fields": index.fields},
        "deployment": _CLOUD,
        "deletion_protection": "disabled",
    }


def _error(refusal: Refusal) -> web.Response:
    body = {"error": {"code": str(refusal.status), "message": refusal.message}}
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = f"{refusal.retry_after:g}"
    return Answer(body | {"status": refusal.status}, status=refusal.status, headers=headers)


@contextlib.asynccontextmanager
async def _served(port: int) -> AsyncGenerator[PineconeServer]:
    async with PineconeServer(port=port) as server:
        print(server.url, flush=True)  # noqa: T201 - who starts it reads the address
        yield server


async def _serve(port: int) -> None:
    async with _served(port):
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Emulates Pinecone on this machine.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
