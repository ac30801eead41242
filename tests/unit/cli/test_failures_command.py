"""`vectorflow failures` and `vectorflow jobs`: what they understand, and what they refuse."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command

CUT = """
from pathlib import Path

def cut(text):
    if "bad" in text and Path("broken").exists():
        raise ValueError
    return [text]
"""


@pytest.fixture
def failed(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command line beside a job of which one document failed, as long as `broken` is there."""
    monkeypatch.setenv("VECTORFLOW_CHUNKING__CHUNKER", "./breaking.py:cut")
    (tmp_path / "breaking.py").write_text(CUT)
    (tmp_path / "broken").touch()
    (tmp_path / "docs").mkdir()
    for name in ("good", "bad"):
        (tmp_path / "docs" / f"{name}.md").write_text(f"A {name} day for goats.")
    assert command("embed", "docs").code == 4
    return command


def test_failures_are_listed_with_the_command_that_tries_them_again(failed: Command) -> None:
    for words in (["failures"], ["failures", "list"], ["failures", "1"]):
        ran = failed(*words)

        assert ran.code == 0
        job = " 1" if "1" in words else ""
        assert f"then: vectorflow failures retry{job} --cause bad_chunk" in ran.out
        listed = json.loads(failed(*words, "--json").out)["failures"]
        assert [failure["external_id"] for failure in listed] == ["bad.md"]
        assert json.loads(failed("--json", *words).out)["failures"] == listed


def test_what_is_tried_again_is_said_and_counted(failed: Command, tmp_path: Path) -> None:
    again = ["failures", "retry", "--cause", "bad_chunk", "--wait"]

    in_vain = failed(*again, "--canary", "3")
    (tmp_path / "broken").unlink()
    mended = failed(*again, "--json")

    assert in_vain.code == 4
    assert "1 document tried again\njob 1 is partial: 1 done, 1 failed" in in_vain.out
    assert "next: vectorflow failures 1" in in_vain.out
    assert mended.code == 0
    told = json.loads(mended.out)
    assert told["documents"] == 1
    assert [(job["id"], job["state"], job["docs_total"]) for job in told["jobs"]] == [
        (1, "completed", 2)
    ]


def test_a_job_that_is_retried_can_be_paused_resumed_and_cancelled(failed: Command) -> None:
    ran = failed("jobs", "retry", "1", "--json")
    assert json.loads(ran.out)["jobs"][0]["state"] == "running"
    assert "add --wait, or start vectorflow worker" in ran.err

    assert json.loads(failed("jobs", "pause", "1", "--json").out)["job"]["state"] == "paused"
    shown = failed("jobs", "show", "1").out
    assert "paused   somebody paused it" in shown
    assert "jobs resume 1" in shown
    assert (
        failed("jobs", "retry", "1", "--json").error["fix"]
        == "resume it first: `vectorflow jobs resume 1`"
    )
    assert failed("jobs", "resume", "--all").code == 0
    assert failed("jobs", "resume", "--all").err.endswith("no job is paused\n")
    cancelled = json.loads(failed("jobs", "cancel", "1", "--json").out)["job"]
    assert (cancelled["state"], cancelled["docs_done"]) == ("cancelled", 1)


REFUSED = [
    (["jobs", "resume"], 2, "give the ID of one, or --all"),
    (["jobs", "resume", "1", "--all"], 2, "give the ID of one, or --all"),
    (["jobs", "pause", "1"], 1, "job 1 is partial and cannot be paused"),
    (["jobs", "resume", "1"], 1, "job 1 is partial and cannot be resumed"),
    (["jobs", "cancel", "1"], 1, "job 1 is partial and cannot be cancelled"),
    (["jobs", "cancel", "9"], 1, "there is no job 9"),
    (["failures", "retry", "9"], 1, "there is no job 9"),
    (["failures", "retry", "--cause", "none"], 1, "no failure with the code none can be"),
    (["failures", "discard"], 2, "give a JOB, --cause CODE or --all"),
    (["failures", "discard", "9"], 1, "there is no job 9"),
    (["failures", "nonsense"], 2, "'nonsense' is not a valid integer"),
]


def test_what_cannot_be_is_refused_with_a_sentence(failed: Command) -> None:
    for words, code, sentence in REFUSED:
        ran = failed(*words)

        assert ran.code == code, words
        assert sentence in " ".join(ran.err.split()), words


def test_discarded_failures_are_gone(failed: Command) -> None:
    assert json.loads(failed("failures", "discard", "--all", "--json").out) == {"discarded": 1}
    assert failed("failures").err.endswith("nothing has failed\n")


def test_of_a_tenant_only_what_is_its_own_is_seen(failed: Command) -> None:
    others = ["--tenant", "two words"]

    listed = failed("jobs", "list", *others)
    shown = failed("jobs", "show", "1", *others, "--json")
    discarded = failed("failures", "discard", "--all", *others, "--json")
    refused = failed("failures", "--tenant", " ")

    assert listed.err.endswith(
        "two words has no jobs; for those that have: vectorflow tenants list\n"
    )
    assert shown.error["message"] == "there is no job 1"
    assert shown.error["fix"].startswith("`vectorflow jobs list --tenant 'two words'` shows")
    assert json.loads(discarded.out) == {"discarded": 0}
    assert (refused.code, "no tenant is called ' '" in refused.err) == (2, True)
    assert failed("failures", *others).err.endswith("nothing has failed\n")
    assert "bad.md" in failed("failures", "--tenant", "default").out
