"""A store that only the API reaches, written through it under the leases of this worker."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Self, TypeVar

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from vectorflow.adapters._work_client import Ask, WorkClient
from vectorflow.errors import BadChunk, LeaseLost, Permanent, Unavailable
from vectorflow.ports.vector_store import Marker, Query, VectorStore
from vectorflow.ports.work_wire import ARROW

T = TypeVar("T")

LeasesOf = Callable[[str], Mapping[int, int]]
"""Index -> leases that are held in it: epoch by batch."""

CALL_BYTES = 4 << 20
"""Of records in one call: a line of 1.2 Mbit/s gets them through within 30 seconds."""

_marker, _made, _ids = TypeAdapter(Marker | None), TypeAdapter(Marker), TypeAdapter(list[str])


class ApiVectorStore(VectorStore):
    """Calls are made once: a failed one is the batch's to try again, as with every store.

    The API finds store and index by the lease; it is not for searching.
    """

    batch_records: ClassVar[int] = 1_000

    def __init__(self, client: WorkClient, leases_of: LeasesOf, *, timeout: float) -> None:
        self._client = client
        self._leases_of = leases_of
        self._timeout = timeout

    @classmethod
    def locator(cls, url: str) -> str:
        return url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is held: the client is the worker's."""

    async def marker(self, index: str) -> Marker | None:
        return _read(_marker.validate_json, await self._call("marker", index))

    async def create(self, index: str, marker: Marker) -> Marker:
        answer = await self._call("create", index, _made.dump_json(marker))
        return _read(_made.validate_json, answer)

    async def upsert(self, index: str, records: pa.Table) -> None:
        start = 0
        for some in _slices(records):
            try:
                await self._call("upsert", index, await asyncio.to_thread(_stream, some), ARROW)
            except BadChunk as error:
                error.position += start
                raise
            start += len(some)

    async def delete(self, index: str, ids: Sequence[str]) -> None:
        await self._call("delete", index, _ids.dump_json(list(ids)))

    async def fetch(self, index: str, ids: Sequence[str]) -> pa.Table:
        answer = await self._call("fetch", index, _ids.dump_json(list(ids)))
        return await asyncio.to_thread(_read, _table, answer)

    async def search(self, index: str, query: Query) -> pa.Table:  # noqa: ARG002 - the port's
        raise Permanent("workers over HTTP do not search")

    async def _call(
        self, verb: str, index: str, body: bytes = b"", kind: str = "application/json"
    ) -> bytes:
        leases = self._leases_of(index)
        if not leases:
            message = f"no batch of index {index!r} is held here any more"
            raise LeaseLost(message)
        return await self._client.read(
            Ask(
                method="POST",
                path=f"store/{verb}",
                body=body,
                content_type=kind,
                leases=leases,
                seconds=self._timeout,
            )
        )


def _slices(records: pa.Table) -> Iterator[pa.Table]:
    """Halve records until each piece fits into a call, or is a single one."""
    if records.nbytes <= CALL_BYTES or len(records) == 1:
        yield records
        return
    half = len(records) // 2
    yield from _slices(records.slice(0, half))
    yield from _slices(records.slice(half))


def _stream(records: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, records.schema) as writer:
        writer.write_table(records)
    return sink.getvalue().to_pybytes()


def _table(body: bytes) -> pa.Table:
    return pa.ipc.open_stream(body).read_all()


def _read(read: Callable[[bytes], T], body: bytes) -> T:
    try:
        return read(body)
    except (pa.ArrowException, OSError, ValidationError):
        message = "the API answered in a form that is not known here"
        raise Unavailable(message, fix="run the same release on both sides") from None
