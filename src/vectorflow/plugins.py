"""Find a class by kind (a plural: `embedders`) and name, through entry points `vectorflow.KIND`."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from vectorflow.errors import InvalidInput, MissingExtra, UnknownPlugin

_EXTRAS: Mapping[tuple[str, str], str] = {
    ("chunkers", "code"): "code",
    ("queues", "amqp"): "rabbitmq",
    ("queues", "amqps"): "rabbitmq",
    ("queues", "rediss"): "redis",
    ("tokenizers", "cl100k"): "openai",
    ("tokenizers", "minilm"): "local",
    ("tokenizers", "o200k"): "openai",
    ("vector_stores", "lancedb"): "local",
    ("vector_stores", "postgresql"): "pgvector",
}


def names(kind: str) -> list[str]:
    """List the plugins of a kind, whether or not the libraries they need are installed."""
    return sorted({point.name for point in _entry_points(kind)})


def load(kind: str, name: str) -> type:
    """Import a plugin's class.

    Adapters import their library as late as they can, so one that is missing may show only when
    the plugin is used; the adapter then raises `MissingExtra` itself.

    Raises:
        UnknownPlugin: Its `fix` names the nearest.
        MissingExtra: The module cannot be imported for want of a library.
        InvalidInput: Several packages offer that name, or it is not a class.
    """
    point = _find(kind, name)
    try:
        loaded = _imported(point)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "vectorflow":
            raise  # a typo of ours is not a missing library
        raise _missing(kind, point, error.name or "a library") from error
    if not isinstance(loaded, type):
        raise InvalidInput(f"{kind} {name!r} ({point.value}) is not a class")
    return loaded


def extra_of(kind: str, name: str) -> str:
    """Name the extra of the package that brings a built-in plugin's library."""
    return _EXTRAS.get((kind, name), "files" if kind == "extractors" else name)


@cache
def _entry_points(kind: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"vectorflow.{kind}"))


@cache
def _imported(point: EntryPoint) -> object:
    loaded: object = point.load()
    return loaded


def _find(kind: str, name: str) -> EntryPoint:
    found = {point.value: point for point in _entry_points(kind) if point.name == name}
    if not found:
        unknown = UnknownPlugin(kind, name, names(kind))
        if near := get_close_matches(name, names(kind), n=1):
            unknown.fix = f"did you mean {near[0]!r}?"
        raise unknown
    if len(found) > 1:
        raise InvalidInput(
            f"{kind} {name!r} is offered more than once: {', '.join(sorted(found))}",
            fix="uninstall all packages that offer it but one",
        )
    return next(iter(found.values()))


def _missing(kind: str, point: EntryPoint, module: str) -> MissingExtra:
    missing = MissingExtra(kind, point.name, extra_of(kind, point.name))
    if not point.module.startswith("vectorflow."):
        missing.fix = f"install {module!r}, which {point.module!r} imports"
    return missing
