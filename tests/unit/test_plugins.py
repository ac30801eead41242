import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from vectorflow import plugins
from vectorflow.errors import InvalidInput, MissingExtra, UnknownPlugin


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Name and value of the entry points that are found instead of the real ones."""
    rows: list[tuple[str, str]] = []

    def found(kind: str) -> tuple[EntryPoint, ...]:
        group = f"vectorflow.{kind}"
        return tuple(EntryPoint(name=name, value=value, group=group) for name, value in rows)

    monkeypatch.setattr(plugins, "_entry_points", found)
    return rows


def test_a_built_in_plugin_is_found_through_its_entry_point() -> None:
    loaded = plugins.load("blob_stores", "memory")

    assert loaded.__name__ == "MemoryBlobStore"
    assert loaded.__module__ == "vectorflow.adapters.blob_stores.memory"


def test_names_are_sorted_and_import_nothing() -> None:
    assert plugins.names("vector_stores") == [
        "lancedb",
        "memory",
        "pinecone",
        "postgresql",
        "qdrant",
    ]


def test_an_unknown_kind_has_no_plugins() -> None:
    assert plugins.names("umbrellas") == []


def test_an_unknown_name_tells_the_nearest_and_the_installed_ones() -> None:
    with pytest.raises(UnknownPlugin) as caught:
        plugins.load("vector_stores", "lancdb")

    assert str(caught.value) == (
        "no vector_stores named 'lancdb'; installed: lancedb, memory, pinecone,"
        " postgresql, qdrant; did you mean 'lancedb'?"
    )


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(UnknownPlugin) as caught:
        plugins.load("vector_stores", "zzz")

    assert caught.value.fix == ""


def test_a_missing_library_names_the_extra(
    installed: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class NeedsPsycopg(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ModuleNotFoundError(name="psycopg")

    monkeypatch.setitem(sys.modules, "vectorflow.pretended", NeedsPsycopg("vectorflow.pretended"))
    installed.append(("postgresql", "vectorflow.pretended:Store"))

    with pytest.raises(MissingExtra) as caught:
        plugins.load("vector_stores", "postgresql")

    assert caught.value.fix == "pip install 'vectorflow-engine[pgvector]'"


@pytest.mark.parametrize(
    ("kind", "name", "extra"),
    [
        ("embedders", "local", "local"),
        ("tokenizers", "cl100k", "openai"),
        ("tokenizers", "minilm", "local"),
        ("queues", "amqps", "rabbitmq"),
        ("queues", "rediss", "redis"),
        ("queues", "sqs", "sqs"),
        ("vector_stores", "lancedb", "local"),
        ("vector_stores", "postgresql", "pgvector"),
        ("vector_stores", "qdrant", "qdrant"),
    ],
)
def test_an_extra_has_the_name_of_its_plugin_but_for_a_few(
    kind: str, name: str, extra: str
) -> None:
    assert plugins.extra_of(kind, name) == extra


def test_a_missing_library_of_a_strangers_plugin_is_named(
    installed: list[tuple[str, str]],
) -> None:
    installed.append(("mine", "no_such_package_of_mine.store:Store"))

    with pytest.raises(MissingExtra, match="install 'no_such_package_of_mine'"):
        plugins.load("vector_stores", "mine")


def test_a_missing_module_of_our_own_is_not_taken_for_a_missing_library(
    installed: list[tuple[str, str]],
) -> None:
    installed.append(("mine", "vectorflow.adapters.no_such_module:Store"))

    with pytest.raises(ModuleNotFoundError, match=r"vectorflow\.adapters\.no_such_module"):
        plugins.load("vector_stores", "mine")


def test_a_name_that_two_packages_offer_is_refused(installed: list[tuple[str, str]]) -> None:
    installed += [("mine", "one:Store"), ("mine", "two:Store")]

    with pytest.raises(InvalidInput, match="offered more than once: one:Store, two:Store"):
        plugins.load("vector_stores", "mine")


def test_the_same_entry_point_found_twice_is_one(installed: list[tuple[str, str]]) -> None:
    installed += [("mine", "collections:OrderedDict"), ("mine", "collections:OrderedDict")]

    assert plugins.names("vector_stores") == ["mine"]
    assert plugins.load("vector_stores", "mine").__name__ == "OrderedDict"


def test_a_plugin_must_be_a_class(installed: list[tuple[str, str]]) -> None:
    installed.append(("mine", "os.path:join"))

    with pytest.raises(InvalidInput, match="is not a class"):
        plugins.load("vector_stores", "mine")
