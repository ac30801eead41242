import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from vectorflow.cli.options import KeyValue


@pytest.mark.parametrize(
    "arguments",
    [["--data-dir", "there", "config", "show"], ["config", "show", "--data-dir", "there"]],
)
def test_a_shared_option_may_stand_before_or_after_the_command(
    command: Command, tmp_path: Path, arguments: list[str]
) -> None:
    ran = command(*arguments, "--json")

    shown = json.loads(ran.out)["settings"]["data_dir"]
    assert shown == {"value": str(tmp_path / "there"), "origin": "flag"}


def test_the_option_after_the_command_wins(command: Command, tmp_path: Path) -> None:
    ran = command("--data-dir", "one", "config", "show", "--data-dir", "two", "--json")

    assert json.loads(ran.out)["settings"]["data_dir"]["value"] == str(tmp_path / "two")


def test_secrets_are_hidden(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERNAL_API_KEY", "hush")

    ran = command("config", "show", "--store", "postgresql://me:hush@host/name")

    assert "postgresql://me:***@host/name" in ran.out
    assert "INTERNAL_API_KEY" in ran.out
    assert "hush" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("team=hr", ("team", "hr")),
        ("year=2024", ("year", 2024)),
        ("share=0.5", ("share", 0.5)),
        ("open=true", ("open", True)),
        ("zip=01234", ("zip", "01234")),
        ('year="2024"', ("year", "2024")),
        ("none=null", ("none", "null")),
        ("list=[1]", ("list", "[1]")),
        ("odd=NaN", ("odd", "NaN")),
        ("sum=a=b", ("sum", "a=b")),
        ("empty=", ("empty", "")),
    ],
)
def test_a_value_is_a_number_or_boolean_where_json_has_one(
    text: str, pair: tuple[str, object]
) -> None:
    read = KeyValue().convert(text, None, None)

    assert read == pair
    assert type(read[1]) is type(pair[1])
