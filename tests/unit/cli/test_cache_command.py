"""`vectorflow cache` looks where the workers of this machine keep their vectors."""

import json
import socket
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command


def test_with_a_ledger_on_a_server_it_is_the_cache_of_this_machine_that_is_cleared(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "north")
    monkeypatch.setenv("VECTORFLOW_DATABASE__URL", "postgresql://ledger.example/vectorflow")

    cleared = command("cache", "clear", "--json")

    folder = tmp_path / ".vectorflow" / "cache" / "north"
    assert json.loads(cleared.out) == {"cleared": str(folder)}
