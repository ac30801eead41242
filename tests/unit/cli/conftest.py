"""The command line in this process: the test's own logging and signals come back after it."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vectorflow.cli.main import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, str]:
        """The error that `--json` prints."""
        error: dict[str, str] = json.loads(self.out)["error"]
        return error


Command = Callable[..., Ran]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs `vectorflow` in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VECTORFLOW_EMBEDDER", "hash:384")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def call(*arguments: str) -> Ran:
        code = run(arguments)
        printed = capsys.readouterr()
        return Ran(code=code, out=printed.out, err=printed.err)

    yield call
    root.handlers[:] = handlers
    root.setLevel(level)
