"""What a process has opened, each thing once: stores and embedders, by name and account."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

MOST = 64
"""Things open before those that nobody asked for lately are closed."""

IDLE_SECONDS = 3600.0
"""Longer than any batch works: what nobody asked for so long nobody uses."""


class Opens(Protocol):
    """An asynchronous context manager that gives itself."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


T = TypeVar("T", bound=Opens)
Key = tuple[str, str]
"""Name, and account; the account is empty for the settings' own."""


@dataclass(slots=True)
class _Entry(Generic[T]):
    thing: T
    asked_at: float


class Opened(AbstractAsyncContextManager["Opened[T]"], Generic[T]):
    """Opens things when they are first asked for, and closes all of them at its end."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry[T]] = {}
        self._opening = asyncio.Lock()

    async def get(self, key: Key, make: Callable[[], T]) -> T:
        """Give the thing of a key, opened."""
        async with self._opening:
            entry = self._entries.get(key)
            if entry is None:
                await self._make_room()
                entry = _Entry(await make().__aenter__(), 0.0)
                self._entries[key] = entry
            entry.asked_at = time.monotonic()
            return entry.thing

    async def __aexit__(self, *exc: object) -> None:
        """Close everything, the newest first, whatever fails on the way."""
        async with AsyncExitStack() as stack:
            for entry in self._entries.values():
                stack.push_async_exit(entry.thing)
            self._entries.clear()

    async def _make_room(self) -> None:
        if len(self._entries) < MOST:
            return
        now = time.monotonic()
        idle = [key for key, one in self._entries.items() if now - one.asked_at > IDLE_SECONDS]
        for key in idle:
            await self._entries.pop(key).thing.__aexit__(None, None, None)
