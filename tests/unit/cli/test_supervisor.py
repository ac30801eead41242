"""Who starts workers again gives up for nothing but being asked to."""

import asyncio
import errno
import os

import pytest

from vectorflow.cli import supervisor


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
async def test_a_worker_that_the_machine_cannot_start_is_started_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    stop, start, refused = asyncio.Event(), asyncio.create_subprocess_exec, list[int]()

    async def refuse_once(*command: str, **options: object) -> asyncio.subprocess.Process:
        if not refused:
            refused.append(number)
            raise OSError(number, os.strerror(number))
        stop.set()
        return await start(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_once)
    monkeypatch.setattr(supervisor, "COMMAND", ("-c", "import sys; sys.stdin.read()"))
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.001)

    async with asyncio.timeout(30):
        await supervisor.supervise({}, stop, grace=20.0)

    assert stop.is_set()
    assert [record.message for record in caplog.records] == ["worker_ended"]
    assert caplog.records[0].__dict__["error"] == os.strerror(number)
