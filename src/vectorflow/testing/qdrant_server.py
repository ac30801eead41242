"""A Qdrant to test with: its REST, as far as VectorFlow needs it, over Qdrant's own segment engine.

It refuses what the real server refuses: ids that are neither numbers nor UUIDs, vectors of another
length, bodies over 32 MB, a wrong key and, where it is `strict`, filters by fields without an
index. Needs `qdrant-edge-py`.

    python -m vectorflow.testing.qdrant_server --port 0    # prints qdrant://127.0.0.1:PORT
"""

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, cast

import orjson
from aiohttp import web

from vectorflow.testing._qdrant_engine import Collection, Json, Refused

_MAX_BODY = 32 * 1024 * 1024
_QUEUE_SECONDS = 0.2  # how late a write is done that nobody waits for
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that came in."""

    method: str
    path: str
    key: str | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    status: int
    headers: Mapping[str, str]
    method: str
    path: str


class QdrantServer:
    """Started by `async with`. Its collections go with it, unless it is given a path.

    `seen` holds the requests that came in.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        path: Path | None = None,
        strict: bool = False,
        max_body: int = _MAX_BODY,
        version: str = "1.20.0",
    ) -> None:
        self.port = port
        self.max_body = max_body
        self.version = version
        self.seen: list[Seen] = []
        self._faults: list[_Fault] = []
        self._key = key
        self._path = path
        self._strict = strict
        self._folder = Path()
        self._collections: dict[str, Collection] = {}
        self._later: set[asyncio.Task[None]] = set()
        self._changes = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its address as VectorFlow writes it."""
        return f"qdrant://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """Its address as clients of Qdrant write it."""
        return f"http://127.0.0.1:{self.port}"

    def fail(
        self,
        status: int,
        *,
        method: str = "",
        path: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Let the next request of that method and end of path fail, once."""
        fault = _Fault(status=status, headers=headers or {}, method=method, path=path)
        self._faults.append(fault)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._load)
        app = web.Application(client_max_size=1 << 40, middlewares=[self._guard])
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._runner:
            await self._runner.cleanup()
        await asyncio.gather(*self._later)
        await asyncio.to_thread(self._unload)

    def _load(self) -> None:
        self._folder = self._path or Path(tempfile.mkdtemp(prefix="qdrant-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._collections = {one.name: Collection.load(one) for one in self._folder.iterdir()}

    def _unload(self) -> None:
        for collection in self._collections.values():
            collection.close()
        self._collections.clear()
        if self._path is None:
            shutil.rmtree(self._folder)

    def _routes(self) -> list[web.RouteDef]:
        one = "/collections/{name}"
        return [
            web.get("/", self._version),
            *(web.get(path, self._healthy) for path in ("/healthz", "/livez", "/readyz")),
            web.get("/collections", self._list),
            web.get(one, self._info),
            web.get(f"{one}/exists", self._exists),
            web.put(one, self._make),
            web.patch(one, self._change),
            web.delete(one, self._remove),
            web.put(f"{one}/index", self._index),
            web.put(f"{one}/points", self._upsert),
            web.post(f"{one}/points", self._read(Collection.retrieve)),
            web.post(f"{one}/points/delete", self._delete),
            web.post(f"{one}/points/scroll", self._read(self._strictly(Collection.scroll))),
            web.post(f"{one}/points/count", self._read(self._strictly(Collection.count))),
            web.post(f"{one}/points/query", self._read(self._strictly(Collection.query))),
        ]

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        key, size = request.headers.get("api-key"), request.content_length or 0
        self.seen.append(Seen(method=request.method, path=request.path, key=key, size=size))
        for fault in self._faults:
            if fault.method in {"", request.method} and request.path.endswith(fault.path):
                self._faults.remove(fault)
                return _error(fault.status, "a fault of this test", fault.headers)
        if self._key and key != self._key and request.path not in {"/", "/healthz"}:
            return web.Response(status=401, text="Must provide an API key")
        if size > self.max_body:
            return _error(413, f"JSON payload ({size} bytes) is larger than allowed")
        try:
            return await handler(request)
        except Refused as refused:
            return _error(refused.status, str(refused))

    async def _version(self, request: web.Request) -> web.Response:
        del request
        title = "qdrant - vector search engine"
        return _json({"title": title, "version": self.version, "commit": "test"})

    async def _healthy(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="healthz check passed")

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return _result({"collections": [{"name": name} for name in self._collections]})

    async def _info(self, request: web.Request) -> web.Response:
        return _result(await asyncio.to_thread(self._held(request).info))

    async def _exists(self, request: web.Request) -> web.Response:
        return _result({"exists": request.match_info["name"] in self._collections})

    async def _make(self, request: web.Request) -> web.Response:
        name, wanted = request.match_info["name"], await _body(request)
        async with self._changes:
            if name in self._collections:
                raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
            folder = self._folder / name
            self._collections[name] = await asyncio.to_thread(Collection.make, folder, wanted)
        return _result(result=True)

    async def _change(self, request: web.Request) -> web.Response:
        self._held(request).update(await _body(request))
        return _result(result=True)

    async def _remove(self, request: web.Request) -> web.Response:
        async with self._changes:
            if gone := self._collections.pop(request.match_info["name"], None):
                await asyncio.to_thread(gone.remove)
        return _result(gone is not None)

    async def _index(self, request: web.Request) -> web.Response:
        collection, wanted = self._held(request), await _body(request)
        return await self._done(request, partial(collection.index, wanted))

    async def _upsert(self, request: web.Request) -> web.Response:
        collection, body = self._held(request), await _body(request)
        return await self._done(request, collection.parse_points(body))

    async def _delete(self, request: web.Request) -> web.Response:
        collection, body = self._held(request), await _body(request)
        return await self._done(request, collection.parse_delete(body, strict=self._strict))

    async def _done(self, request: web.Request, do: Callable[[], None]) -> web.Response:
        """Do a write, or promise it where the caller does not wait for it."""
        if request.query.get("wait") == "true":
            await asyncio.to_thread(do)
            return _result({"operation_id": 1, "status": "completed"})
        later = asyncio.create_task(_do_later(do))
        self._later.add(later)
        later.add_done_callback(self._later.discard)
        return _result({"operation_id": 1, "status": "acknowledged"})

    def _read(self, read: Callable[[Collection, Json], object]) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            collection, body = self._held(request), await _body(request)
            return _result(await asyncio.to_thread(read, collection, body))

        return answer

    def _strictly(self, read: Callable[..., object]) -> Callable[[Collection, Json], object]:
        return partial(read, strict=self._strict)

    def _held(self, request: web.Request) -> Collection:
        name = request.match_info["name"]
        if name not in self._collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return self._collections[name]


async def _do_later(do: Callable[[], None]) -> None:
    await asyncio.sleep(_QUEUE_SECONDS)
    await asyncio.to_thread(do)


async def _body(request: web.Request) -> Json:
    try:
        body: object = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"Format error in JSON body: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "Format error in JSON body: not an object")
    return cast("Json", body)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json({"status": {"error": message}, "time": 0.0}, status, headers)


def _result(result: object) -> web.Response:
    return _json({"result": result, "status": "ok", "time": 0.0001})


def _json(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json"
    )


async def _serve(port: int, key: str | None, path: Path | None) -> None:
    async with QdrantServer(port=port, key=key, path=path) as server:
        print(server.url, flush=True)  # noqa: T201
        await asyncio.Event().wait()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A Qdrant to test with.")
    parser.add_argument("--port", type=int, default=6333, help="0 chooses a free one")
    parser.add_argument("--key", help="refuse requests without this key")
    parser.add_argument("--path", type=Path, help="folder that keeps the collections")
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.key, given.path))


if __name__ == "__main__":
    main()
