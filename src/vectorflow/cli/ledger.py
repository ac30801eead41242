"""For commands that need the ledger and nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vectorflow.cli import options
from vectorflow.cli.place import show_place

if TYPE_CHECKING:
    from vectorflow.settings import Settings
    from vectorflow.wiring import Parts

T = TypeVar("T")


def with_parts(work: "Callable[[Parts], Awaitable[T]]") -> T:
    """Do something with the ledger that options and settings name, and say where that is."""
    settings, tenant = options.settings(), options.given_tenant()
    from vectorflow.wiring import Parts

    show_place(settings)

    async def opened() -> T:
        async with Parts(settings, tenant=tenant) as parts:
            return await work(parts)

    return asyncio.run(opened())


def is_ledger_missing(settings: "Settings") -> bool:
    """Whether the ledger is a file that is not there; one that may not be looked at is none."""
    scheme, _, path = settings.database_url.partition(":///")
    try:
        return scheme == "sqlite" and not Path(path).exists()
    except OSError:
        return False


def demand_ledger(settings: "Settings") -> None:
    """Refuse to go on where there is no ledger yet: looking at one must not make it.

    Raises:
        NotFound: Says how to make it.
    """
    from vectorflow.errors import NotFound

    if is_ledger_missing(settings):
        message = f"there is no ledger in {settings.data_dir}"
        raise NotFound(message, fix="run `vectorflow db upgrade`, or check --data-dir")
