"""Options that many commands share; each may stand before or after the command's name."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vectorflow.domain.access import DEFAULT_TENANT, check_tenant
from vectorflow.errors import InvalidInput

if TYPE_CHECKING:
    from vectorflow.settings import Settings

F = TypeVar("F", bound=Callable[..., object])

_OVERRIDES = "vectorflow.overrides"
_JSON = "vectorflow.json"
_TENANT = "vectorflow.tenant"


class Refused(click.UsageError):
    """The command line has to be changed, and we know how."""

    def __init__(self, message: str, *, fix: str, code: str = "usage") -> None:
        super().__init__(message)
        self.code, self.fix = code, fix


class KeyValue(click.ParamType[tuple[str, object]]):
    """`KEY=VALUE`; a value that is a JSON number or boolean is one, all else is text."""

    name = "KEY=VALUE"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, object]:
        """Part the two, and read the value."""
        import json

        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE, such as team=hr", param, ctx)
        try:
            read: object = json.loads(text, parse_constant=str)
        except ValueError:
            return key, text
        return key, read if isinstance(read, str | int | float) else text


def setting(*names: str, path: str, **attributes: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's
    """Make an option that overrides the setting at `path`."""

    def keep(ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value is not None:
            ctx.meta.setdefault(_OVERRIDES, {})[path] = value

    return click.option(*names, callback=keep, expose_value=False, **attributes)


def everywhere(command: F) -> F:
    """Add what every command understands."""

    def keep(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[_JSON] = True

    data_dir = setting(
        "--data-dir",
        path="data_dir",
        metavar="DIR",
        type=click.Path(file_okay=False),
        help="Folder of everything that is kept.  [default: ./.vectorflow]",
    )
    json = click.option(
        "--json",
        is_flag=True,
        callback=keep,
        expose_value=False,
        help="Print one JSON object on stdout.",
    )
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, help="Show where an error came from."
    )
    return data_dir(json(debug(command)))


def version(command: F) -> F:
    """Add `--version`."""

    def show(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            from vectorflow import __version__

            click.echo(f"vectorflow {__version__}")
            ctx.exit()

    option = click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the version and exit.",
    )
    return option(command)


database = setting(
    "--database",
    path="database.url",
    metavar="URL",
    help="The ledger, if not in the data directory.",
)
store = setting("--store", path="store", metavar="URL", help="The vector store: lancedb:///PATH, …")
embedder = setting("--embedder", path="embedder", metavar="NAME", help="The model: PLUGIN:MODEL.")
index = setting("--index", path="index", metavar="NAME", help="The index in the store.")
chunker = setting("--chunker", path="chunking.chunker", metavar="NAME", help="What cuts documents.")


def tenant(whose: str) -> Callable[[F], F]:
    """Make the option that names a tenant other than the one this machine works for."""

    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is not None:
            with refusing():
                check_tenant(value)
            ctx.meta[_TENANT] = value

    return click.option(
        "--tenant",
        metavar="NAME",
        callback=keep,
        expose_value=False,
        help=f"{whose}  [default: {DEFAULT_TENANT}]",
    )


def chunk_size(*names: str) -> Callable[[F], F]:
    """Make the option that says how long chunks are, under these names."""
    return setting(
        *names,
        path="chunking.size",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="Most tokens of a chunk.  [default: 512, or what the model reads]",
    )


def chunk_overlap(*names: str) -> Callable[[F], F]:
    """Make the option that says how much chunks share, under these names."""
    return setting(
        *names,
        path="chunking.overlap",
        type=click.IntRange(min=0),
        metavar="TOKENS",
        help="Tokens repeated of the chunk before.  [default: an eighth]",
    )


def as_json() -> bool:
    """Whether `--json` was given."""
    return bool(click.get_current_context().meta.get(_JSON))


def given_tenant() -> str:
    """Name the tenant that a command is for."""
    return str(click.get_current_context().meta.get(_TENANT, DEFAULT_TENANT))


def overrides() -> dict[str, Any]:
    """What options say about settings, by dotted name."""
    return dict(click.get_current_context().meta.get(_OVERRIDES, {}))


def as_environment() -> dict[str, str]:
    """What options say about settings, as a process that we start reads it."""
    from vectorflow.settings import variables

    given = {variables()[path]: str(value) for path, value in overrides().items()}
    return {f"{name}_FILE": "" for name in given} | given


@contextmanager
def refusing() -> Generator[None]:
    """Turn what settings and plugins refuse into errors of usage.

    Raises:
        Refused: Something has to be called otherwise.
    """
    try:
        yield
    except InvalidInput as error:
        raise Refused(error.message, fix=error.fix, code=error.code) from error


def settings(*, serving: bool = False) -> "Settings":
    """Read the settings with what options say, and start logging.

    Args:
        serving: Log what happens, not only what goes wrong.

    Raises:
        Refused: Names every mistake.
    """
    from vectorflow.cli.logs import configure
    from vectorflow.settings import load

    with refusing():
        found = load(overrides())
    quiet = not serving and "log.level" not in found.origins
    configure("warning" if quiet else found.log.level, as_json=found.log.json)
    return found
