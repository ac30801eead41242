"""Old records that cannot be deleted, as people are told of them."""

from pathlib import Path

from tests.unit.cli.conftest import Command
from vectorflow import settings
from vectorflow.cli.checks import examine_cleanup
from vectorflow.ledger.database import Database
from vectorflow.ledger.waits import FailingCleanup


def test_the_doctor_says_what_deleting_fails_with() -> None:
    (found,) = examine_cleanup(FailingCleanup(batches=2, message="it said no", fix="ask it why"))

    assert (found.part, found.state, found.fix) == ("clean-up", "note", "ask it why")
    assert "2 batches" in found.text
    assert "it said no" in found.text


def test_where_an_error_has_no_fix_the_doctor_leads_to_the_log() -> None:
    (found,) = examine_cleanup(FailingCleanup(batches=1, message="no", fix=""))

    assert "log" in found.fix


def test_where_nothing_fails_the_doctor_is_silent() -> None:
    assert examine_cleanup(None) == []


def test_a_job_says_what_is_still_to_be_deleted(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("A day for goats.")
    assert command("embed", "a.md").code == 0
    assert "clean-up" not in command("jobs", "show", "1").out
    database = Database(settings.load({}).database_url)
    open_one = "UPDATE jobs SET cleanup_open = 1"
    database.write_now(lambda connection: connection.exec_driver_sql(open_one))
    database.close()

    shown = command("jobs", "show", "1").out

    assert "clean-up 1 batch of old records still to be deleted" in " ".join(shown.split())
