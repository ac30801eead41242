"""What waits for somebody is found and mended by the commands that alerts name, whosever it is."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.acceptance.cli_process import vectorflow
from tests.docs.pages import DOCS
from vectorflow.flow import Flow
from vectorflow.settings import load

ALERTS = DOCS / "how-to" / "watch-and-alert.md"

CHUNKER = """
from pathlib import Path

def cut(text):
    if Path(__file__).with_name("broken").exists():
        raise RuntimeError("it is broken")
    return [text]
"""


@pytest.fixture
def mended(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a ledger in which job 1 of acme has failed, and job 2 is paused."""
    (tmp_path / "mine.py").write_text(CHUNKER, "utf-8")
    broken = tmp_path / "broken"
    broken.touch()
    given = {
        "VECTORFLOW_CHUNKING__CHUNKER": f"{tmp_path / 'mine.py'}:cut",
        "VECTORFLOW_EMBEDDER": "hash:64",
    }
    with Flow(load(environ=given, directory=tmp_path), tenant="acme") as flow:
        assert flow.embed({"id": "lost", "text": "The tide turns at noon."}).failed == 1
        held = flow.embed({"id": "held", "text": "Ring the bell."}).job_id
        flow.retry(held)
        assert (held, flow.pause(held).state) == (2, "paused")
    broken.unlink()
    return given


def commands_of(alert: str) -> list[list[str]]:
    """Give what the annotation of an alert says to type, for the tenant acme."""
    rule = re.search(rf"- alert: {alert}\n(?:.*\n)*? +summary: (.*)", ALERTS.read_text("utf-8"))
    assert rule is not None
    named = re.findall(r"`(vectorflow [^`]+)`", rule[1])
    return [shlex.split(command.replace("NAME", "acme"))[1:] for command in named]


def test_the_doctor_says_whose_it_is(tmp_path: Path, mended: Mapping[str, str]) -> None:
    for alert in ("VectorFlowDeadLetters", "VectorFlowJobsPaused"):
        words, _ = commands_of(alert)

        told = " ".join(vectorflow(tmp_path, *words, **mended).out.split())

        assert "1 document failed: 1 of acme fix: see `vectorflow failures --tenant acme`" in told
        assert "1 job paused: 1 of acme fix: see `vectorflow jobs list --tenant acme`" in told


def test_a_failure_is_listed_and_tried_again(tmp_path: Path, mended: Mapping[str, str]) -> None:
    _, words = commands_of("VectorFlowDeadLetters")

    listed = vectorflow(tmp_path, *words, **mended)
    [then] = re.findall(r"then: vectorflow (.*)", listed.out)
    strange = vectorflow(tmp_path, "failures", **mended)
    retried = vectorflow(tmp_path, *shlex.split(then), "--wait", **mended)

    assert "lost  not searchable, job 1" in listed.out
    assert then == "failures retry --cause bad_chunk --tenant acme"
    assert "nothing has failed" in strange.err
    assert retried.code == 0, retried.err
    assert "job 1 is completed: 1 done, 0 failed" in retried.out


def test_a_paused_job_is_listed_and_goes_on(tmp_path: Path, mended: Mapping[str, str]) -> None:
    _, words = commands_of("VectorFlowJobsPaused")

    listed = vectorflow(tmp_path, *words, "--json", **mended).json["jobs"]
    shown = vectorflow(tmp_path, "jobs", "show", "2", "--tenant", "acme", **mended)
    [then] = re.findall(r"`vectorflow (.*?)` goes on", shown.out)
    strange = vectorflow(tmp_path, *shlex.split(then)[:3], **mended)
    resumed = vectorflow(tmp_path, *shlex.split(then), "--wait", **mended)

    assert isinstance(listed, list)
    assert [(job["id"], job["state"]) for job in listed] == [(2, "paused"), (1, "failed")]
    assert then == "jobs resume 2 --tenant acme"
    assert (strange.code, "there is no job 2" in strange.err) == (1, True)
    assert resumed.code == 0, resumed.err
    assert "job 2 is completed: 1 done, 0 failed" in resumed.out
