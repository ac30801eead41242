"""Runs of the command line, each in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import cpu_seconds, environment

VECTORFLOW = Path(sys.executable).with_name("vectorflow")


class Ran(NamedTuple):
    """What a command took and said."""

    seconds: float
    cpu_seconds: float
    out: str


def run(*arguments: str | Path, **variables: str) -> Ran:
    """Run `vectorflow` to its end.

    Raises:
        RuntimeError: It failed.
    """
    used, started = cpu_seconds(), time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [VECTORFLOW, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, spent = time.perf_counter() - started, cpu_seconds() - used
    if done.returncode != 0:
        message = f"vectorflow {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return Ran(seconds, spent, done.stdout)


def report(ran: Ran) -> dict[str, int]:
    """Read what `vectorflow embed --json` printed."""
    said: dict[str, int] = json.loads(ran.out)
    return said
