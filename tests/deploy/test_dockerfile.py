"""The images: what can be known of them without building them."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.api_server import running_server
from tests.deploy.dockerfile import (
    IMAGES,
    ROOT,
    copied,
    is_sent,
    last,
    stages,
    steps_of,
    variables,
    words,
)
from vectorflow.cli.main import run

LINTER = Path(sys.executable).with_name("hadolint")
SECRET = re.compile(r"(key|password|passwd|secret|token)s?$", re.IGNORECASE)


def installs() -> list[list[str]]:
    """Every command that installs Python packages."""
    commands = [
        shlex.split(command)
        for stage in stages().values()
        for step in stage.all("RUN")
        for command in step.split("&&")
    ]
    return [command for command in commands if "install" in command and "pip" in command]


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run(
        [LINTER, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_there_are_two_images_of_one_runtime() -> None:
    known = stages()

    assert set(IMAGES) <= set(known)
    assert {known[image].base for image in IMAGES} == {"runtime"}


def test_the_base_is_a_python_that_we_support() -> None:
    bases = {stage.base for stage in stages().values()} - set(stages())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    [base] = bases
    version = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert version
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


@pytest.mark.parametrize("source", copied())
def test_what_is_copied_is_there_and_is_sent_to_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    assert is_sent(source)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/bin/python",
        ".vectorflow/ledger.db",
        "deploy/sample.env",
        "src/vectorflow/__pycache__/asgi.pyc",
        "tests/conftest.py",
    ],
)
def test_nothing_else_is_sent_to_the_builder(path: str) -> None:
    assert not is_sent(path)


def test_every_package_that_is_installed_is_hashed() -> None:
    files = []
    for command in installs():
        if command[-1] == ".":
            assert {"--no-deps", "--no-build-isolation"} <= set(command)
            continue
        assert "--require-hashes" in command
        files.append(command[command.index("--requirement") + 1])

    assert files == ["requirements/uv.txt", "requirements/runtime.txt"]
    for file in files:
        pins = re.findall(r"^\w(?:.*\\\n)+.*", (ROOT / file).read_text("utf-8"), re.MULTILINE)
        assert pins
        assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_the_libraries_are_a_layer_that_a_change_of_code_leaves_alone() -> None:
    steps = stages()["build"].steps
    code = next(at for at, step in enumerate(steps) if step == ("COPY", "src src"))
    libraries = next(at for at, (_, argument) in enumerate(steps) if "runtime.txt" in argument)

    assert libraries < code
    assert [name for name, _ in steps[code + 1 :]] == ["RUN"]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_a_command_that_there_is(
    image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = words(last(image, "CMD"))

    assert program == "vectorflow"
    assert run([*arguments, "--help"]) == 0
    assert f"Usage: vectorflow {arguments[0]}" in capsys.readouterr().out


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_not_run_by_root_and_by_the_same_number_for_ever(image: str) -> None:
    assert last(image, "USER") == "10001:10001"
    assert any("--uid 10001" in argument for name, argument in steps_of(image) if name == "RUN")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_writes_to_its_volume_and_to_tmp_alone(image: str) -> None:
    environment = variables(image)

    assert words(last(image, "VOLUME")) == [environment["VECTORFLOW_DATA_DIR"]] == ["/data"]
    assert environment["HOME"] == "/tmp"  # noqa: S108 - where a read-only container may write
    assert environment["PYTHONDONTWRITEBYTECODE"] == environment["PYTHONUNBUFFERED"] == "1"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_stops_at_the_signal_that_the_product_knows(image: str) -> None:
    assert last(image, "STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is(image: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pairs = [word.partition("=") for word in shlex.split(last(image, "LABEL"))]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, _, value in pairs}

    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]
    assert labels["title"] == "VectorFlow"
    assert labels["description"]


@pytest.mark.parametrize("image", ["build", *IMAGES])
def test_no_secret_is_in_an_image(image: str) -> None:
    arguments = [argument for name, argument in steps_of(image) if name == "ARG"]

    assert [name for name in (*variables(image), *arguments) if SECRET.search(name)] == []


def test_nothing_but_python_packages_is_installed() -> None:
    steps = " ".join(argument for stage in stages().values() for argument in stage.all("RUN"))

    assert not re.search(r"\b(apt|apt-get|curl|wget|git)\b", steps)


def test_the_health_check_tells_a_server_that_answers_from_one_that_is_gone(
    tmp_path: Path,
) -> None:
    _, _, command = last("vectorflow_api", "HEALTHCHECK").partition("CMD ")
    program, *arguments = words(command)

    def check(port: int) -> int:
        environ = os.environ | {"VECTORFLOW_API__PORT": str(port), "http_proxy": "http://nowhere:1"}
        done = subprocess.run(
            [sys.executable, *arguments], env=environ, stderr=subprocess.DEVNULL, check=False
        )
        return done.returncode

    with running_server(tmp_path / "data") as server:
        port = urlsplit(server.url).port or 0
        there = check(port)
    gone = check(port)

    assert program == "python"
    assert there == 0
    assert gone != 0


def test_the_image_of_the_api_holds_the_settings_of_gunicorn() -> None:
    assert last("vectorflow_api", "COPY") == "deploy/gunicorn.conf.py ./"
    assert last("vectorflow_api", "EXPOSE") == "8000"
