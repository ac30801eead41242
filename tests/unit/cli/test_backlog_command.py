"""`vectorflow backlog` and `vectorflow tenants`: what they print, and what they refuse."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command
from vectorflow import settings
from vectorflow.ledger.database import Database
from vectorflow.testing.ledgers import rows


@pytest.fixture
def paused(command: Command, tmp_path: Path) -> Command:
    """A command line beside a job that waits for a person."""
    (tmp_path / "a.md").write_text("A day for goats.")
    assert command("embed", "a.md").code == 0
    database = Database(settings.load({}).database_url)
    for statement in (
        "UPDATE jobs SET state = 'paused', paused = '{\"reason\": \"operator\"}'",
        "UPDATE batches SET state = 'paused' WHERE kind = 'embed'",
        "UPDATE batches SET state = 'ready' WHERE kind = 'extract'",
    ):
        database.write_now(lambda connection, text=statement: connection.exec_driver_sql(text))
    assert rows(database, "SELECT count(*) FROM batches") == [(2,)]
    database.close()
    return command


def test_the_backlog_shows_what_waits_and_why(paused: Command) -> None:
    ran = paused("backlog")

    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["lane", "kind", "ready", "leased", "delayed", "paused", "oldest"]
    assert lines[4][:3] == ["bulk", "extract", "1"]
    assert lines[5] == ["bulk", "embed", "1"]
    assert "1 job paused: operator" in ran.out


def test_the_backlog_is_an_object_for_machines(paused: Command) -> None:
    said = json.loads(paused("backlog", "--json").out)

    assert said["demand"] == 1
    assert said["lanes"]["bulk"]["embed"]["paused"] == 1
    assert said["paused_jobs"] == {"operator": 1}


def test_a_tenant_is_weighed_and_listed(command: Command) -> None:
    assert json.loads(command("tenants", "list", "--json").out) == {"tenants": []}

    said = command("tenants", "weigh", "acme", "--weight", "2.5", "--json")

    acme = {"tenant": "acme", "weight": 2.5}
    assert json.loads(said.out) == acme
    assert json.loads(command("tenants", "list", "--json").out) == {"tenants": [acme]}
    assert "acme  weight 2.5" in command("tenants", "list").out


@pytest.mark.parametrize(
    "words", [["", "--weight", "2"], ["x" * 65, "--weight", "2"], ["a", "--weight", "0"], ["a"]]
)
def test_what_is_no_tenant_or_no_weight_is_refused(command: Command, words: list[str]) -> None:
    assert command("tenants", "weigh", *words).code == 2
