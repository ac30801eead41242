import shlex
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from vectorflow.cli import options, place


@pytest.mark.parametrize("name", ["search", "failures"])
def test_what_an_embed_says_to_do_next_can_be_typed(
    command: Command, tmp_path: Path, name: str
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "good.md").write_text("Goats are welcome.")
    (tmp_path / "docs" / "bad.md").write_bytes(b"\0\1\2")
    place = ["--data-dir", "there", "--embedder", "hash:8"]

    ran = command("embed", "docs", *place)
    told = next(line for line in ran.out.splitlines() if f"vectorflow {name} " in line)
    step = told[told.index("vectorflow ") :].split("     |     ")
    words = next(shlex.split(each) for each in step if f" {name} " in each)

    assert ran.code == 4
    assert command(*words[1:]).code == 0


def test_no_password_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"store": "postgresql://me:hush@host/db", "data_dir": "a b", "embedder": "hash:8"}
    monkeypatch.setattr(options, "overrides", lambda: given)
    monkeypatch.setattr(options, "given_tenant", lambda: "acme corp")

    assert place.command_line("jobs") == (
        "vectorflow jobs --data-dir 'a b' --store 'postgresql://me:***@host/db' --embedder hash:8"
        " --tenant 'acme corp'"
    )
