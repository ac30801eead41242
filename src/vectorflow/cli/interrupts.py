"""Ctrl-C: the first stops in good order, the second at once. SIGTERM counts as the first."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from vectorflow.cli.exit_codes import INTERRUPTED

SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def orderly(on_first: Callable[[], None]) -> Generator[None]:
    """Raise KeyboardInterrupt at the first signal; `on_first` is told, and must not wait."""
    stopping = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            leave_at_once()
        stopping = True
        on_first()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_at_once() -> None:
    """End the process as a crash would: leases run out or are taken over, nothing is lost."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), f"{SHOW_CURSOR}\n".encode())
    os._exit(INTERRUPTED)
