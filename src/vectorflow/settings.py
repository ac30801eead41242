"""What can be set: one tree, from flags, the environment and `vectorflow.toml`, in this order.

A field's docstring says its unit and how to choose it; `docs/reference/settings.md` is made of
them. The environment name of `api.port` is VECTORFLOW_API__PORT.
"""

import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote

from pydantic import AfterValidator, ByteSize, Field, SecretStr, TypeAdapter, ValidationError

from vectorflow.errors import InvalidSetting

_MIB = 1 << 20
_FREE_FLOOR = ByteSize(256 * _MIB)
_MAX_UPLOAD = ByteSize(25 * _MIB)
_BYTE_BUDGET = ByteSize(256 * _MIB)


def _is_url(value: SecretStr) -> SecretStr:
    if not re.match(r"[a-z][a-z0-9+.-]*://", value.get_secret_value()):
        raise ValueError("a URL is needed, such as postgresql://user:password@host/name")
    return value


def _is_folder(value: Path) -> Path:
    if "?" in str(value):
        raise ValueError("the path may hold no question mark, as it becomes part of a URL")
    return value.expanduser()


Url = Annotated[SecretStr, AfterValidator(_is_url)]
"""A secret, since it may hold a password."""
Folder = Annotated[Path, AfterValidator(_is_folder)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """The ledger."""

    url: Url | None = None
    """Where the ledger is: a `postgresql://` URL, to share it between machines. Not set, it is the
    SQLite file `ledger.db` in the data directory, which all processes of one machine may share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSettings:
    """Uploads, manifests and vector files."""

    free_floor_bytes: Annotated[ByteSize, Field(ge=0)] = _FREE_FLOOR
    """Bytes that must stay free on the disk: with less, new work is refused and what is under way
    can still end. Choose a few times what one upload may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkingSettings:
    """How documents are cut."""

    chunker: Text = "default"
    """Name of the chunker."""
    size: Count | None = None
    """Tokens of a chunk, at most. Not set, it is 512 or what the model reads, if that is less."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Tokens that a chunk may repeat of the one before. Not set, it is an eighth of the size."""

    def __post_init__(self) -> None:
        if None not in {self.size, self.overlap} and (self.overlap or 0) >= (self.size or 0):
            raise ValueError("the overlap must be less than the size")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The HTTP server."""

    host: Text = "127.0.0.1"
    """Address to listen on. The default lets in this machine only; `0.0.0.0` lets in all."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""
    key: SecretStr | None = None
    """Key that every request carries; while it is changed, the new and the old one with a comma
    between. Not set, a key is made at the first start and shown once."""
    max_upload_bytes: Annotated[ByteSize, Field(ge=1)] = _MAX_UPLOAD
    """Bytes of one file sent to `/embed`, at most."""

    @property
    def keys(self) -> tuple[SecretStr, ...]:
        """All keys that let a request in, the newest first."""
        parts = self.key.get_secret_value().split(",") if self.key else []
        return tuple(SecretStr(part.strip()) for part in parts if part.strip())

    def __post_init__(self) -> None:
        if self.key and not self.keys:
            raise ValueError("the key is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What extracts, embeds and stores."""

    byte_budget: Annotated[ByteSize, Field(ge=16 * _MIB)] = _BYTE_BUDGET
    """Bytes of texts and vectors in memory at once. More lets more work overlap; the model and
    the libraries come on top."""
    lease_seconds: Annotated[float, Field(ge=30, allow_inf_nan=False)] = 60.0
    """Seconds after which the work of a worker that died is handed out again; 30 at least."""
    batches: Count = 64
    """Batches held at once. More fills the model's requests better where documents are small."""
    store_timeout: Seconds = 30.0
    """Seconds that one call of the vector store may take; less than the lease."""
    poll_seconds: Seconds = 0.2
    """Seconds between two looks for work while there is none."""
    shutdown_grace: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """Seconds to end what is under way when asked to stop; the rest is handed back."""

    def __post_init__(self) -> None:
        if self.store_timeout >= self.lease_seconds:
            raise ValueError("store_timeout must be less than lease_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long things are kept."""

    orphans_hours: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 24.0
    """Hours that a blob is kept to which nothing refers; longer than the longest upload takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged: `debug`, `info`, `warning` or `error`."""
    json: bool = False
    """One JSON object a line, for machines that collect logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; made by `load`."""

    data_dir: Folder = Path(".vectorflow")
    """Folder of everything kept on this machine, made when it is needed."""
    store: Url | None = None
    """The vector store: `lancedb:///path`, `postgresql://user:password@host/name`. Not set, it is
    LanceDB in the folder `vectors` of the data directory."""
    embedder: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*:.+$")] = "local:all-MiniLM-L6-v2"
    """What makes the vectors, as `plugin:model`. Another model needs another index."""
    index: Text = "default"
    """Index that is used where none is named."""
    offline: bool = False
    """Refuse every call that would leave this machine."""
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    blobs: BlobSettings = field(default_factory=BlobSettings)
    chunking: ChunkingSettings = field(default_factory=ChunkingSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    log: LogSettings = field(default_factory=LogSettings)
    origins: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)
    """Where each value that is no default came from: `flag`, an environment name, a file."""

    @property
    def database_url(self) -> str:
        """URL of the ledger, with its password."""
        if self.database.url:
            return self.database.url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'ledger.db'}"

    @property
    def store_url(self) -> str:
        """URL of the vector store, with its password."""
        if self.store:
            return self.store.get_secret_value()
        return f"lancedb://{self.data_dir.absolute() / 'vectors'}"


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
        known = {*ours, *(f"{variable}_FILE" for variable in ours), _CONFIG}
        self._refuse_unknown("", filter(self._is_meant_for_us, self._environ), known)
        given = self._postgres()
        for variable, name in (_OLDER | ours).items():
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


_PREFIX = "VECTORFLOW_"
_CONFIG = "VECTORFLOW_CONFIG"
_OLDER = {"DATABASE_URL": "database.url", "INTERNAL_API_KEY": "api.key"}
_NOT_OURS = re.compile(
    # Of our tests, and what Kubernetes sets beside a service named vectorflow or vectorflow-api.
    r"VECTORFLOW_(TEST_\w+|(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?))"
)
_SECRET_PARAMETER = re.compile(r"((?:key|token|secret|password|pwd)[^=&]*=)[^&]*", re.IGNORECASE)
_PORT = re.compile(r"(tcp|udp|sctp)://")
"""Value of the variable of Kubernetes whose name could be a typing error for one of ours."""


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
    if name in urls:
        return redacted(urls[name])
    value: object = attrgetter(name)(settings)
    if isinstance(value, ByteSize):
        return value.human_readable(separator=" ")
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value is None else str(value)


def _quoted(given: _Given) -> str:
    return quote(str(given.value), safe="")
