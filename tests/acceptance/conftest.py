"""Sites to kill processes on."""

import signal
from pathlib import Path

import pytest

from tests.acceptance.kill_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty data directory and no documents."""
    return Site(root=tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Let commands have Ctrl-C: a shell that runs tests in the background passes it on ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
