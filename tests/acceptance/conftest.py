"""Sites to kill processes on."""

from pathlib import Path

import pytest

from tests.acceptance.kill_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty data directory and no documents."""
    return Site(root=tmp_path)
