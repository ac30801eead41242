"""Keeps a worker running beside the API, in a process that cannot outlive this one."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
STEADY_SECONDS = 60.0
"""A worker that ran so long is started again without delay."""

COMMAND = ("-m", "vectorflow.cli", "worker", "--until-stdin-closes")


async def supervise(environ: Mapping[str, str], stop: asyncio.Event, *, grace: float) -> None:
    """Run a worker until `stop`, starting it again when it dies, with growing pauses.

    One that the machine cannot start, as it is out of processes, descriptors or memory, is tried
    again like one that died.
    """
    pause = FIRST_PAUSE
    while not stop.is_set():
        began, why = time.monotonic(), dict[str, object]()
        try:
            why["exit_code"] = await _run_once(environ, stop, grace)
        except OSError as error:
            why["error"] = error.strerror
        if stop.is_set():
            return
        pause = FIRST_PAUSE if time.monotonic() - began > STEADY_SECONDS else pause
        log.warning("worker_ended", extra={**why, "restart_seconds": pause})
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _run_once(environ: Mapping[str, str], stop: asyncio.Event, grace: float) -> int:
    """Run one worker to its end; closing its stdin asks it to stop, and so does our death."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, **environ},
        start_new_session=True,  # Ctrl-C in the terminal is ours to pass on
    )
    ended = asyncio.create_task(child.wait())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if child.stdin:
            child.stdin.close()
        await asyncio.wait({ended}, timeout=grace)
    finally:
        stopping.cancel()
        if not ended.done():
            _kill(child.pid)
    return await ended


def _kill(pid: int) -> None:
    """End a worker that does not stop, and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
