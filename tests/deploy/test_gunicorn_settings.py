"""The folder in which processes of gunicorn count together."""

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.deploy.dockerfile import ROOT

NAME = "PROMETHEUS_MULTIPROC_DIR"

Hook = Callable[[object], None]


def hooks() -> tuple[Hook, Hook]:
    """What a master calls as it starts and as it ends."""
    settings = runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))
    return cast("Hook", settings["on_starting"]), cast("Hook", settings["on_exit"])


def folder() -> Path:
    return Path(os.environ[NAME])


def test_each_start_counts_in_a_folder_of_its_own_and_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(NAME, "")
    (starts, ends), (starts_anew, ends_anew) = hooks(), hooks()

    starts(None)
    first = folder()
    starts_anew(None)  # as after SIGUSR2: it inherits the name
    second = folder()

    assert first != second
    assert list(first.iterdir()) == list(second.iterdir()) == []
    ends_anew(None)
    monkeypatch.setenv(NAME, str(first))  # each has an environment of its own
    ends(None)
    assert not first.exists()
    assert not second.exists()


def test_a_folder_that_somebody_has_chosen_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAME, str(tmp_path))
    starts, ends = hooks()

    starts(None)
    ends(None)

    assert folder() == tmp_path
    assert tmp_path.is_dir()
