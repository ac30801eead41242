"""For commands that need the ledger and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from vectorflow.cli import options
from vectorflow.cli.place import show_place

if TYPE_CHECKING:
    from vectorflow.wiring import Parts

T = TypeVar("T")


def with_parts(work: "Callable[[Parts], Awaitable[T]]") -> T:
    """Do something with the ledger that options and settings name, and say where that is."""
    settings = options.settings()
    from vectorflow.wiring import Parts

    show_place(settings)

    async def opened() -> T:
        async with Parts(settings) as parts:
            return await work(parts)

    return asyncio.run(opened())
