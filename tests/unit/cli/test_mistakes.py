import pytest

from tests.unit.cli.conftest import Command
from vectorflow.cli import output
from vectorflow.errors import NotFound


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", ".", "--store", "nowhere"], "a URL is needed"),
        (["embed", ".", "--store", "qdrnt://host"], "no vector_stores named 'qdrnt'"),
        (["embed", ".", "--embedder", "hsh:384"], "no embedders named 'hsh'"),
        (["embed", ".", "--embedder", "hash:tiny"], "no hash model named 'tiny'"),
        (["embed", ".", "--chunker", "defualt"], "no chunkers named 'defualt'"),
        (["embed", ".", "--chunk-size", "10", "--chunk-overlap", "10"], "less than the size"),
        (["embed", ".", "--chunk-overlap", "600"], "does not fit into chunks of 512"),
        (["embed", ".", "--chunk-size", "9000"], "reads 8192 tokens"),
        (["embed", ".", "--chunk-size", "0"], "0 is not in the range"),
        (["embed", ".", "--metadata", "team"], "is not KEY=VALUE"),
        (["embed"], "Missing argument"),
        (["embed", "-", "."], "cannot stand beside other paths"),
        (["embed", ".", "--id", "x"], "names the document on stdin"),
        (["search", "  "], "the query is empty"),
        (["search", "x", "-k", "0"], "0 is not in the range"),
        (["serach", "x"], "No such command 'serach'"),
        (["up", "--port", "70000"], "70000 is not in the range"),
    ],
)
def test_what_cannot_work_is_refused_with_one_sentence_and_a_fix(
    command: Command, arguments: list[str], message: str
) -> None:
    ran = command(*arguments)
    as_json = command(*arguments, "--json")

    assert (ran.code, as_json.code, ran.out) == (2, 2, "")
    assert ran.err.startswith("error    ")
    assert message in " ".join(ran.err.split())
    assert "\nfix      " in ran.err
    assert message in as_json.error["message"]
    assert as_json.error["code"]
    assert as_json.error["fix"]


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        (
            "https://host/a/b.md?x=1",
            "curl -fsSL https://host/a/b.md?x=1 | vectorflow embed - --id b.md",
        ),
        ("s3://bucket/c.txt", "aws s3 cp s3://bucket/c.txt - | vectorflow embed - --id c.txt"),
        ("file:///etc/motd", "give the path alone"),
    ],
)
def test_an_address_is_refused_with_a_command_that_works_today(
    command: Command, path: str, fix: str
) -> None:
    ran = command("embed", path, "--json")

    assert ran.code == 2
    assert ran.error["fix"] == fix


def test_a_mistake_in_the_environment_is_refused_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECTORFLOW_STROE", "memory://x")

    ran = command("config", "show", "--json")

    assert ran.code == 2
    assert "did you mean VECTORFLOW_STORE?" in ran.error["message"]


def test_a_missing_path_is_an_error(command: Command) -> None:
    ran = command("embed", "nowhere", "--store", "memory://missing-path", "--json")

    assert ran.code == 1
    assert ran.error["message"] == "'nowhere' does not exist"


def test_an_error_nobody_expected_is_told_by_its_type_alone() -> None:
    fault = output.fault_of(ValueError("a text of a document"))

    assert "ValueError" in fault.message
    assert "a text of a document" not in f"{fault.message} {fault.fix}"
    assert "--debug" in fault.fix


def test_debug_shows_where_an_error_came_from(command: Command) -> None:
    ran = command("jobs", "show", "9", "--debug")

    assert ran.code == 1
    assert NotFound.__name__ in ran.err
    assert "Traceback" in ran.err
    assert "Traceback" not in command("jobs", "show", "9").err
