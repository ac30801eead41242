import ast
import dataclasses
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorflow.errors import InvalidSetting
from vectorflow.settings import Settings, explain, load, reading, redacted, variables
from vectorflow.settings import tree as module

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"
NO_QUESTION_MARK = "the path may hold no question mark, as it becomes part of a URL"


def mistakes(
    directory: Path,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> list[str]:
    with pytest.raises(InvalidSetting) as caught:
        load(overrides, environ or {}, directory)
    return str(caught.value).replace(f"{directory}/", "").splitlines()


def origin(settings: Settings, name: str) -> str:
    return {row.name: row.origin for row in explain(settings)}[name]


def test_without_any_setting_everything_lies_in_the_current_directory(tmp_path: Path) -> None:
    settings = load(environ={}, directory=tmp_path)

    assert settings.data_dir == tmp_path / ".vectorflow"
    assert settings.database_url == f"sqlite:///{tmp_path}/.vectorflow/ledger.db"
    assert settings.store_url == f"lancedb://{tmp_path}/.vectorflow/vectors"
    assert settings == dataclasses.replace(Settings(), data_dir=settings.data_dir)
    assert not any(tmp_path.iterdir())


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path,
) -> None:
    (tmp_path / "vectorflow.toml").write_text("[api]\nport = 1\nhost = 'file'\n[log]\njson = true")
    environ = {"VECTORFLOW_API__PORT": "2", "VECTORFLOW_API__HOST": "environment"}

    settings = load({"api.port": 3, "api.host": None}, environ, tmp_path)

    assert (settings.api.port, settings.api.host, settings.log.json) == (3, "environment", True)
    assert origin(settings, "api.port") == "flag"
    assert origin(settings, "api.host") == "VECTORFLOW_API__HOST"
    assert origin(settings, "log.json") == str(tmp_path / "vectorflow.toml")
    assert origin(settings, "log.level") == "default"


def test_the_file_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('data_dir = "kept"')

    settings = load(environ={"VECTORFLOW_CONFIG": "mine.toml"}, directory=tmp_path)

    assert settings.data_dir == tmp_path / "kept"


def test_values_are_read_as_their_types(tmp_path: Path) -> None:
    environ = {
        "VECTORFLOW_WORKER__BYTE_BUDGET": "64MiB",
        "VECTORFLOW_BLOBS__FREE_FLOOR_BYTES": "1000",
        "VECTORFLOW_OFFLINE": "1",
        "VECTORFLOW_WORKER__POLL_SECONDS": "0.5",
        "VECTORFLOW_CHUNKING__SIZE": "128",
    }

    settings = load(environ=environ, directory=tmp_path)

    assert settings.worker.byte_budget == 64 * 1024 * 1024
    assert settings.blobs.free_floor_bytes == 1000
    assert settings.offline is True
    assert settings.worker.poll_seconds == 0.5
    assert settings.chunking.size == 128


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    settings = load(
        environ={"VECTORFLOW_API__PORT": "", "INTERNAL_API_KEY": ""}, directory=tmp_path
    )

    assert settings.api.port == 8000
    assert settings.api.key is None


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "vectorflow.toml").write_text("colour = 1\n[worker]\nlease_seconds = 5\n")
    environ = {
        "VECTORFLOW_DATA_DRI": "x",
        "VECTORFLOW_API__PORT": "eight",
        "VECTORFLOW_STORE": "lancedb",
    }

    assert mistakes(tmp_path, environ, {"log.levle": "info", "index": ""}) == [
        "vectorflow.toml: colour: there is no such setting",
        "VECTORFLOW_DATA_DRI: there is no such setting; did you mean VECTORFLOW_DATA_DIR?",
        "log.levle: there is no such setting; did you mean log.level?",
        "VECTORFLOW_STORE: a URL is needed, such as postgresql://user:password@host/name",
        "index: String should have at least 1 character",
        f"VECTORFLOW_API__PORT: {NO_INTEGER}",
        "vectorflow.toml: worker.lease_seconds: Input should be greater than or equal to 30",
    ]


@pytest.mark.parametrize(
    ("environ", "mistake"),
    [
        (
            {"VECTORFLOW_CHUNKING__SIZE": "9", "VECTORFLOW_CHUNKING__OVERLAP": "9"},
            "chunking: the overlap must be less than the size",
        ),
        (
            {"VECTORFLOW_WORKER__STORE_TIMEOUT": "60"},
            "worker: store_timeout must be less than lease_seconds",
        ),
        ({"VECTORFLOW_API__KEY": " , "}, "api: the key is empty"),
        (
            {"VECTORFLOW_DATA_DIR": "what?"},
            f"VECTORFLOW_DATA_DIR: {NO_QUESTION_MARK}",
        ),
        ({"VECTORFLOW_CONFIG": "none.toml"}, "none.toml: No such file or directory"),
        (
            {"VECTORFLOW_API__KEY_FILE": "none"},
            "VECTORFLOW_API__KEY_FILE: none: No such file or directory",
        ),
        (
            {"INTERNAL_API_KEY": "a", "INTERNAL_API_KEY_FILE": "b"},
            "INTERNAL_API_KEY: INTERNAL_API_KEY_FILE is set too; keep one of them",
        ),
        ({"POSTGRES_HOST": "db"}, "POSTGRES_HOST: POSTGRES_USERNAME is needed too"),
        (
            {"POSTGRES_HOST": "db", "POSTGRES_USERNAME": "u"},
            "POSTGRES_HOST: POSTGRES_DB is needed too",
        ),
        *(
            (
                {"RABBITMQ_HOST": "mq", "RABBITMQ_PORT": port},
                "RABBITMQ_PORT: a port is needed, such as 5671",
            )
            for port in ("amqp", "5672/tcp", "0", "65536")
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said(tmp_path: Path, environ: dict[str, str], mistake: str) -> None:
    assert mistakes(tmp_path, environ) == [mistake]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("port = ", "vectorflow.toml: Invalid value (at end of document)"),
        ("api = 5", "vectorflow.toml: api: there is no such setting"),
        (
            "[api.port]\nx = 1",
            "vectorflow.toml: api.port.x: there is no such setting; did you mean api.port?",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_said(tmp_path: Path, text: str, mistake: str) -> None:
    (tmp_path / "vectorflow.toml").write_text(text)

    (said,) = mistakes(tmp_path)

    assert said.startswith(mistake)


def test_a_secret_may_come_from_a_mounted_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")

    settings = load(environ={"VECTORFLOW_API__KEY_FILE": str(tmp_path / "key")}, directory=tmp_path)

    assert [key.get_secret_value() for key in settings.api.keys] == ["s3cret"]
    assert origin(settings, "api.key") == "VECTORFLOW_API__KEY_FILE"


def test_keys_are_parted_by_commas_while_they_are_changed(tmp_path: Path) -> None:
    settings = load(environ={"INTERNAL_API_KEY": "new, old,"}, directory=tmp_path)

    assert [key.get_secret_value() for key in settings.api.keys] == ["new", "old"]
    assert origin(settings, "api.key") == "INTERNAL_API_KEY"
    assert load(environ={}, directory=tmp_path).api.keys == ()


def test_the_older_names_of_rabbitmq_still_work(tmp_path: Path) -> None:
    host = {"RABBITMQ_HOST": "mq"}
    account = {"RABBITMQ_USERNAME": "me", "RABBITMQ_PASSWORD": "p@ss/word"}
    tls, new = {"RABBITMQ_PORT": "5671"}, {"VECTORFLOW_QUEUE__URL": "redis://new/0"}

    given = (host, host | account, host | tls | account, host | tls | new, account)
    loaded = [load(environ=environ, directory=tmp_path) for environ in given]

    assert [settings.queue_url for settings in loaded] == [
        "amqp://mq/",
        "amqp://me:p%40ss%2Fword@mq/",
        "amqps://me:p%40ss%2Fword@mq:5671/",
        "redis://new/0",
        "polling://",
    ]
    assert origin(loaded[0], "queue.url") == "RABBITMQ_HOST"
    shown = {row.name: row.value for row in explain(loaded[1])}
    assert shown["queue.url"] == "amqp://me:***@mq/"


def test_the_port_of_a_service_that_kubernetes_knows_is_no_port_of_ours(tmp_path: Path) -> None:
    beside = {"RABBITMQ_HOST": "rabbitmq", "RABBITMQ_PORT": "tcp://10.0.0.1:5672"}

    assert load(environ=beside, directory=tmp_path).queue_url == "amqp://rabbitmq/"


def test_the_older_names_of_the_database_still_work(tmp_path: Path) -> None:
    parts = {
        "POSTGRES_HOST": "db:5433",
        "POSTGRES_USERNAME": "me",
        "POSTGRES_PASSWORD": "p@ss/word",
        "POSTGRES_DATABASE_NAME": "ledger",
    }
    one = {"DATABASE_URL": "postgresql://one/x"}
    new = {"VECTORFLOW_DATABASE__URL": "postgresql://new/x"}

    urls = [
        load(environ=env, directory=tmp_path).database_url
        for env in (parts, parts | one, one | new)
    ]

    assert urls == [
        "postgresql://me:p%40ss%2Fword@db:5433/ledger",
        "postgresql://one/x",
        "postgresql://new/x",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VECTORFLOW_PORT", "tcp://10.0.0.1:8000"),
        ("VECTORFLOW_SERVICE_HOST", "10.0.0.1"),
        ("VECTORFLOW_SERVICE_PORT_HTTP", "8000"),
        ("VECTORFLOW_API_PORT", "tcp://10.0.0.1:8000"),
        ("VECTORFLOW_API_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("VECTORFLOW_TEST_REQUIRE", "postgres"),
        ("HOME", "/root"),
    ],
)
def test_names_that_others_set_are_let_be(tmp_path: Path, name: str, value: str) -> None:
    assert load(environ={name: value}, directory=tmp_path) == load(environ={}, directory=tmp_path)


def test_a_forgotten_underscore_is_not_taken_for_one_of_kubernetes(tmp_path: Path) -> None:
    assert mistakes(tmp_path, {"VECTORFLOW_API_PORT": "8001"}) == [
        "VECTORFLOW_API_PORT: there is no such setting; did you mean VECTORFLOW_API__PORT?"
    ]


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    environ = {
        "VECTORFLOW_API__KEY": "hunter2",
        "VECTORFLOW_DATABASE__URL": "postgresql://me:hunter2@db/x",
        "VECTORFLOW_STORE": "qdrant://hunter2@host?api_key=hunter2&tls=1",
    }

    settings = load(environ=environ, directory=tmp_path)
    shown = {row.name: row.value for row in explain(settings)}

    assert "hunter2" not in repr(settings) + repr(shown)
    assert shown["api.key"] == "**********"
    assert shown["database.url"] == "postgresql://me:***@db/x"
    assert shown["store"] == "qdrant://***@host?api_key=***&tls=1"


def test_a_mistake_never_shows_the_value_of_a_secret(tmp_path: Path) -> None:
    said = mistakes(tmp_path, {"DATABASE_URL": "hunter2", "VECTORFLOW_STORE": "hunter2"})

    assert len(said) == 2
    assert "hunter2" not in "".join(said)


@given(
    user=st.text("abc", max_size=3),
    password=st.text("XYZ:/@?#%", min_size=1).map(lambda text: f"Q{text}Q"),
)
def test_a_password_is_hidden_whatever_it_is_made_of(user: str, password: str) -> None:
    assert redacted(f"postgresql://{user}:{password}@host/x") == f"postgresql://{user}:***@host/x"


@pytest.mark.parametrize("url", ["lancedb:///home/me@work/x", "qdrant://host:6333", "sqlite:///a"])
def test_a_url_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert redacted(url) == url


def test_all_settings_are_explained_in_words_people_use(tmp_path: Path) -> None:
    rows = explain(load(environ={"VECTORFLOW_OFFLINE": "yes"}, directory=tmp_path))
    shown = {row.name: row.value for row in rows}

    assert [row.name for row in rows] == list(variables())
    assert shown["offline"] == "true"
    assert shown["worker.byte_budget"] == "256.0 MiB"
    assert shown["chunking.size"] == "not set"
    assert shown["store"] == f"lancedb://{tmp_path}/.vectorflow/vectors"


def test_the_reference_page_lists_every_setting_as_the_code_has_it() -> None:
    """VECTORFLOW_TEST_UPDATE=1 writes the page."""
    expected = _page()

    if os.environ.get("VECTORFLOW_TEST_UPDATE"):
        PAGE.write_text(expected, "utf-8")
    assert PAGE.read_text("utf-8") == expected, "run this test with VECTORFLOW_TEST_UPDATE=1"


def test_the_reference_page_lists_every_older_name_in_the_order_in_which_they_win() -> None:
    rows = [f"| `{name}` | `{setting}` |" for name, setting in reading.OLDER.items()]
    listed = PAGE.read_text("utf-8").splitlines()

    assert [line for line in listed if line in rows] == rows
    joined = " ".join(line for line in listed if " together | " in line)
    read = set(re.findall(r'"((?:POSTGRES|RABBITMQ)_\w+)"', inspect.getsource(reading)))
    assert read == set(re.findall(r"`(\w+_[A-Z_]+)`", joined))


def _page() -> str:
    head = PAGE.read_text("utf-8").partition("| setting |")[0]
    shown = {row.name: row.value for row in explain(Settings())}
    shown |= {"data_dir": "./.vectorflow", "store": "not set", "database.url": "not set"}
    rows = [
        f"| `{name}` | `{variables()[name]}` | {shown[name]} | {meaning} |"
        for name, meaning in _meanings(Settings, "")
    ]
    return (
        head
        + "\n".join(["| setting | environment | default | meaning |", "|---|---|---|---|", *rows])
        + "\n"
    )


def _meanings(section: type, prefix: str) -> Iterator[tuple[str, str]]:
    docstrings = _docstrings(section.__name__)
    for item in dataclasses.fields(section):
        if dataclasses.is_dataclass(item.type):
            yield from _meanings(item.type, f"{prefix}{item.name}.")
        elif item.name != "origins":
            yield f"{prefix}{item.name}", docstrings[item.name]


def _docstrings(name: str) -> dict[str, str]:
    """Read the docstrings below the fields of a class."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    (body,) = (
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name
    )
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
