"""Natural batching: what arrives while one call is under way travels together in the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from vectorflow.errors import Permanent, Unavailable, VectorFlowError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Grouped(Generic[Item, Result]):
    """Turns many small calls into few large ones, one at a time, in order.

    If a group is refused for good, each item is tried alone, so that one cannot harm its
    neighbours.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        weight: Callable[[Item], int],
        limit: int,
    ) -> None:
        self._call = call
        self._weight = weight
        self._limit = limit
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Pass one item on and wait for its own result."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        self._go_on()
        return await done

    def _go_on(self) -> None:
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
            self._runner.add_done_callback(self._ended)

    def _ended(self, runner: asyncio.Task[None]) -> None:
        """Pass on what is left if a call broke off in a way that nobody foresaw."""
        self._runner = None
        if runner.cancelled():
            _fail(self._waiting, Unavailable("the worker is closing"))
            self._waiting = []
        elif self._waiting:
            self._go_on()

    async def _run(self) -> None:
        while group := self._next_group():
            try:
                await self._pass_on(group)
            finally:  # whatever happened, nobody may wait for ever
                _fail(group, Unavailable("the call broke off"))

    def _next_group(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        self._waiting = [(item, done) for item, done in self._waiting if not done.cancelled()]
        weight = 0
        count = 0
        for item, _ in self._waiting:
            weight += self._weight(item)
            if count and weight > self._limit:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _pass_on(self, group: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._call([item for item, _ in group])
        except Permanent as error:
            if len(group) == 1:
                _fail(group, error)
            else:
                for single in group:
                    await self._pass_on([single])
        except VectorFlowError as error:
            _fail(group, error)
        else:
            for (_, done), result in zip(group, results, strict=True):
                if not done.done():
                    done.set_result(result)


def _fail(group: Sequence[tuple[Item, asyncio.Future[Result]]], error: VectorFlowError) -> None:
    for _, done in group:
        if not done.done():
            done.set_exception(error)
