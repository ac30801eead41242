"""Reading settings from flags, the environment and `vectorflow.toml`, in this order."""

import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pydantic import ByteSize, TypeAdapter, ValidationError

from vectorflow.errors import InvalidSetting
from vectorflow.settings.tree import Settings


class Row(NamedTuple):
    """A setting for people to see."""

    name: str
    value: str
    origin: str


def load(
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
    directory: Path | None = None,
) -> Settings:
    """Read all settings.

    Args:
        overrides: What flags say, by dotted name (`api.port`); None means not given.
        environ: An empty value is the same as none.
        directory: Relative paths start here, and `vectorflow.toml` is looked for here; None is the
            current directory.

    Raises:
        InvalidSetting: Names every mistake, one a line.
    """
    reading = _Reading(environ, directory or Path.cwd())
    given = reading.file() | reading.environment() | reading.flags(overrides or {})
    settings = reading.validated(given)
    origins = {name: value.origin for name, value in given.items()}
    return replace(settings, data_dir=reading.directory / settings.data_dir, origins=origins)


def explain(settings: Settings) -> list[Row]:
    """List all settings with their values and where they come from; secrets are hidden."""
    return [
        Row(name, _shown(settings, name), settings.origins.get(name, "default"))
        for name in variables()
    ]


@cache
def variables() -> Mapping[str, str]:
    """Give the environment name of every setting, by its dotted name."""
    return {name: _PREFIX + name.replace(".", "__").upper() for name in _leaves(Settings, "")}


def redacted(url: str) -> str:
    """Hide what may be a secret in a URL: its password, or its user where there is none."""
    scheme, _, rest = url.partition("://")
    rest = _SECRET_PARAMETER.sub(r"\1***", rest)
    account, at, place = rest.rpartition("@")
    if not at or rest.startswith("/"):
        return f"{scheme}://{rest}"
    user, colon, _ = account.partition(":")
    return f"{scheme}://{user}:***@{place}" if colon else f"{scheme}://***@{place}"


class _Given(NamedTuple):
    value: object
    origin: str
    label: str
    """The name that a mistake is reported under."""


class _Reading:
    """Gathers what is given and every mistake on the way."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self.directory = directory
        self._environ = environ
        self._mistakes: list[str] = []

    def flags(self, overrides: Mapping[str, object]) -> dict[str, _Given]:
        given = {name: value for name, value in overrides.items() if value is not None}
        self._refuse_unknown("", given, variables())
        return {name: _Given(value, "flag", name) for name, value in given.items()}

    def file(self) -> dict[str, _Given]:
        named = self._environ.get(_CONFIG)
        path = self.directory / (named or "vectorflow.toml")
        if not named and not path.exists():
            return {}
        try:
            values = dict(_flattened(tomllib.loads(path.read_text("utf-8")), ""))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._mistakes.append(f"{path}: {reason}")
            return {}
        self._refuse_unknown(f"{path}: ", values, variables())
        return {name: _Given(value, str(path), f"{path}: {name}") for name, value in values.items()}

    def environment(self) -> dict[str, _Given]:
        ours = {variable: name for name, variable in variables().items()}
        named = OLDER | ours
        known = {*named, *(f"{variable}_FILE" for variable in named), _CONFIG}
        self._refuse_unknown("", filter(self._is_meant_for_us, self._environ), known)
        given = self._postgres() | self._rabbitmq()
        for variable, name in named.items():
            if value := self._variable(variable):
                given[name] = value
        return given

    def validated(self, given: Mapping[str, _Given]) -> Settings:
        settings = Settings()
        try:
            settings = TypeAdapter(Settings).validate_python(_tree(given))
        except ValidationError as error:
            for mistake in error.errors(include_input=False, include_url=False):
                name = ".".join(map(str, mistake["loc"]))
                label = given[name].label if name in given else name
                self._mistakes.append(f"{label}: {mistake['msg'].removeprefix('Value error, ')}")
        if self._mistakes:
            raise InvalidSetting("\n".join(self._mistakes))
        return settings

    def _refuse_unknown(self, place: str, names: Iterable[str], known: Collection[str]) -> None:
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                guess = f"; did you mean {near[0]}?" if near else ""
                self._mistakes.append(f"{place}{name}: there is no such setting{guess}")

    def _is_meant_for_us(self, name: str) -> bool:
        value = self._environ[name]
        return name.startswith(_PREFIX) and not (_NOT_OURS.fullmatch(name) or _PORT.match(value))

    def _variable(self, name: str) -> _Given | None:
        """Read a variable, or the file that its twin with `_FILE` names."""
        value, file = self._environ.get(name), self._environ.get(f"{name}_FILE")
        if value and file:
            self._mistakes.append(f"{name}: {name}_FILE is set too; keep one of them")
        if value:
            return _Given(value, name, name)
        if not file:
            return None
        try:
            value = (self.directory / file).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            self._mistakes.append(f"{name}_FILE: {file}: {reason}")
            return None
        return _Given(value, f"{name}_FILE", f"{name}_FILE")

    def _postgres(self) -> dict[str, _Given]:
        """Join the older POSTGRES_* names to one URL."""
        if not (host := self._variable("POSTGRES_HOST")):
            return {}
        user = self._variable("POSTGRES_USERNAME")
        database = self._variable("POSTGRES_DB") or self._variable("POSTGRES_DATABASE_NAME")
        if not user or not database:
            missing = "POSTGRES_DB" if user else "POSTGRES_USERNAME"
            self._mistakes.append(f"POSTGRES_HOST: {missing} is needed too")
            return {}
        password = self._variable("POSTGRES_PASSWORD")
        account = _quoted(user) + (f":{_quoted(password)}" if password else "")
        url = f"postgresql://{account}@{host.value}/{_quoted(database)}"
        return {"database.url": _Given(url, host.origin, host.label)}

    def _rabbitmq(self) -> dict[str, _Given]:
        """Join the older RABBITMQ_* names to one URL; only the port 5671 means TLS."""
        if not (host := self._variable("RABBITMQ_HOST")):
            return {}
        user, password = map(self._variable, ("RABBITMQ_USERNAME", "RABBITMQ_PASSWORD"))
        account = _quoted(user) if user else ""
        account += f":{_quoted(password)}" if password else ""
        port = self._rabbitmq_port()
        scheme = "amqps" if port == TLS_PORT else "amqp"
        place = f"{host.value}:{port}" if port else host.value
        url = f"{scheme}://{account}@{place}/" if account else f"{scheme}://{place}/"
        return {"queue.url": _Given(url, host.origin, host.label)}

    def _rabbitmq_port(self) -> str:
        """Give the port that is set; what Kubernetes sets for a service named rabbitmq is none."""
        given = self._variable("RABBITMQ_PORT")
        port = str(given.value) if given else ""
        if given is None or _PORT.match(port):
            return ""
        if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > LAST_PORT:
            self._mistakes.append(f"{given.label}: a port is needed, such as {TLS_PORT}")
        return port


TLS_PORT = "5671"
"""Of RabbitMQ."""

LAST_PORT = 65_535

_PREFIX = "VECTORFLOW_"
_CONFIG = "VECTORFLOW_CONFIG"
OLDER = {
    "API_REQUEST_URL": "server.url",
    "DATABASE_URL": "database.url",
    "INTERNAL_API_KEY": "api.key",
    "OPENAI_API_KEY": "openai.key",
    "OPEN_AI_KEY": "openai.key",
    "OPENAI_BASE_URL": "openai.base_url",
    "PINECONE_API_KEY": "pinecone.key",
    "PINECONE_KEY": "pinecone.key",
    "QDRANT_API_KEY": "qdrant.key",
    "QDRANT_KEY": "qdrant.key",
    "VECTORFLOW_SERVER": "server.url",
    "VECTORFLOW_API_KEY": "server.key",
}
"""Older and shorter names; of two for one setting the later here wins."""
_NOT_OURS = re.compile(
    # Of our tests, and what Kubernetes sets beside a service named vectorflow or vectorflow-api.
    r"VECTORFLOW_(TEST_\w+|(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?))"
)
_SECRET_PARAMETER = re.compile(r"((?:key|token|secret|password|pwd)[^=&]*=)[^&]*", re.IGNORECASE)
_PORT = re.compile(r"(tcp|udp|sctp)://")
"""Value of a variable of Kubernetes whose name is ours, or could be a typing error for one."""


def _leaves(section: type, prefix: str) -> Iterator[str]:
    for item in fields(section):
        if isinstance(item.type, type) and is_dataclass(item.type):
            yield from _leaves(item.type, f"{prefix}{item.name}.")
        elif item.name != "origins":
            yield f"{prefix}{item.name}"


def _flattened(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _tree(given: Mapping[str, _Given]) -> dict[str, object]:
    sections: dict[str, dict[str, object]] = {}
    for name in filter(variables().__contains__, given):
        section, _, leaf = name.rpartition(".")
        sections.setdefault(section, {})[leaf] = given[name].value
    return {**sections.pop("", {}), **sections}


def _shown(settings: Settings, name: str) -> str:
    urls = {"database.url": settings.database_url, "store": settings.store_url}
    if settings.queue.url:
        urls["queue.url"] = settings.queue_url
    if name in urls:
        return redacted(urls[name])
    value: object = attrgetter(name)(settings)
    if isinstance(value, ByteSize):
        return value.human_readable(separator=" ")
    if isinstance(value, tuple):
        value = ", ".join(value) or None
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value is None else str(value)


def _quoted(given: _Given) -> str:
    return quote(str(given.value), safe="")
