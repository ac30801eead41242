"""Writes to a namespace of Pinecone: in requests that it takes, until they show."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

from pinecone.errors.exceptions import NotFoundError

from vectorflow.adapters._pinecone_errors import RecordRefused, translated
from vectorflow.adapters._pinecone_planes import Plane
from vectorflow.adapters._pinecone_records import (
    Written,
    is_written,
    packed,
    searchable,
    unit_vector,
)
from vectorflow.errors import BadChunk, TooMuchAtOnce

_T = TypeVar("_T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_SAMPLES = 100  # records of a write that are looked at where Pinecone does not number its writes


async def all_of(gate: asyncio.Semaphore, calls: Iterable[Awaitable[_T]]) -> list[_T]:
    """Await calls, some at once, all to their end; then raise the first error."""

    async def one(call: Awaitable[_T]) -> _T:
        async with gate:
            return await call

    done = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
    for result in done:
        if isinstance(result, BaseException):
            raise result
    return [result for result in done if not isinstance(result, BaseException)]


class Writes:
    """One call of `upsert`."""

    def __init__(self, plane: Plane, namespace: str, index: str, gate: asyncio.Semaphore) -> None:
        self._plane = plane
        self._namespace = namespace
        self._index = index
        self._gate = gate
        self._numbers: list[int | None] = []
        self._samples: list[Written] = []

    async def write(self, records: Sequence[Written]) -> None:
        """Write records; where one is refused, those of other requests are written all the same.

        Raises:
            BadChunk: Of the first record that Pinecone refuses by itself.
        """
        await all_of(self._gate, [self._send(part) for part in packed(records)])

    async def shown(self, incarnation: str, dimensions: int) -> None:
        """Wait until searches and fetches of others see what was written."""
        pause = _FIRST_PAUSE
        while self._samples and not await self._shows(incarnation, dimensions):
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _send(self, records: Sequence[Written]) -> None:
        try:
            with translated(self._index):
                self._numbers.append(await self._plane.upsert(self._namespace, records))
            self._samples.append(records[-1])
        except (RecordRefused, TooMuchAtOnce) as error:
            if len(records) == 1:
                raise _bad(records[0]) from error
            half = len(records) // 2
            await self._send(records[:half])
            await self._send(records[half:])

    async def _shows(self, incarnation: str, dimensions: int) -> bool:
        try:
            return await self._is_there(incarnation, dimensions)
        except NotFoundError:
            return False  # a new namespace shows as late as its records

    async def _is_there(self, incarnation: str, dimensions: int) -> bool:
        numbers = [number for number in self._numbers if number is not None]
        if len(numbers) == len(self._numbers):
            found = await self._plane.search(
                self._namespace, unit_vector(dimensions), 1, searchable(incarnation, [])
            )
            if found.indexed is not None:
                return found.indexed >= max(numbers)
        samples = {one.id: one for one in self._samples[:_SAMPLES]}
        read = await self._plane.fetch(self._namespace, list(samples))
        return len(read) == len(samples) and all(is_written(one, samples[one.id]) for one in read)


def _bad(record: Written) -> BadChunk:
    fix = "ask for smaller chunks, or look at its metadata"
    return BadChunk("Pinecone refuses a record by itself", position=record.row, fix=fix)
