"""`vectorflow up` in this process: an API whose worker nobody starts again is of no use."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from vectorflow import settings
from vectorflow.cli import supervisor
from vectorflow.cli.server import listen
from vectorflow.cli.up import _up, up


async def test_it_ends_with_what_ended_the_one_who_starts_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Mapping[str, str], stop: asyncio.Event, *, grace: float) -> None:
        assert not stop.is_set()
        assert grace > 0
        raise ZeroDivisionError

    monkeypatch.setattr(supervisor, "supervise", fail)
    given = {"data_dir": tmp_path, "embedder": "hash:8", "blobs.free_floor_bytes": 0}
    chosen = settings.load(given, environ={}, directory=tmp_path)

    with listen("127.0.0.1", 0) as listener, click.Context(up):
        async with asyncio.timeout(30):
            with pytest.raises(ZeroDivisionError):
                await _up(chosen, listener)
