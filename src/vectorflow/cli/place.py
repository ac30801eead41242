"""The first line on stderr: where a command works, and with what."""

import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from vectorflow.cli import options, output
from vectorflow.domain.access import tenant_option

if TYPE_CHECKING:
    from vectorflow.domain.pipelines import Recipe
    from vectorflow.flow import Flow
    from vectorflow.settings import Settings

STORES = {"lancedb": "LanceDB", "memory": "memory", "postgresql": "PostgreSQL"}
"""How people write the names of stores; others are shown as their plugins are named."""

_FLAGS = {
    "data_dir": "--data-dir",
    "database.url": "--database",
    "store": "--store",
    "embedder": "--embedder",
    "index": "--index",
}

LEDGER = ("data_dir", "database.url")
"""Settings of commands that read the ledger alone."""


def opened() -> "Flow":
    """Open the data directory that options and settings name, for a tenant, and say so."""
    settings = options.settings()
    from vectorflow.flow import Flow

    show_place(settings)
    return Flow(settings, tenant=options.given_tenant())


def show_place(settings: "Settings", recipe: "Recipe | None" = None) -> None:
    """Say where a command works; too long for the terminal, it breaks between its parts."""
    from rich.text import Text

    console = output.stderr()
    width = console.width if console.is_terminal else None
    for line in folded(parts_of(settings, recipe), width):
        console.print(Text(line, "dim"), soft_wrap=True)


def parts_of(settings: "Settings", recipe: "Recipe | None" = None) -> list[str]:
    """List data directory, index and, with a recipe, model and chunks."""
    from vectorflow.settings import redacted

    where = f"in-process, {short_path(settings.data_dir)}"
    if settings.database.url:
        where += f", ledger {redacted(settings.database_url)}"
    parts = [where]
    if recipe is not None:
        scheme = settings.store_url.partition("://")[0]
        parts += [
            f"index {settings.index} ({STORES.get(scheme, scheme)})",
            model_of(settings, recipe),
            f"{recipe.chunking.size}-token chunks, overlap {recipe.chunking.overlap}",
        ]
    return parts


def model_of(settings: "Settings", recipe: "Recipe") -> str:
    """Name the model, who runs it, and its dimensions."""
    plugin = settings.embedder.partition(":")[0]
    names = dict.fromkeys([recipe.fingerprint.model, plugin])
    return f"{' '.join(names)} {recipe.fingerprint.dimensions}-d"


def folded(parts: list[str], width: int | None) -> list[str]:
    """Join parts with dots, as many a line as fit; None is no limit."""
    lines = [parts[0]]
    for part in parts[1:]:
        if width is not None and len(lines[-1]) + len(part) + 3 > width:
            lines.append(f"  {part}")
        else:
            lines[-1] += f" · {part}"
    return lines


def short_path(path: Path) -> str:
    """Write a path from the current directory, where it is below."""
    here = Path.cwd()
    if path.is_relative_to(here):
        return output.plain(os.path.join(".", path.relative_to(here)))  # noqa: PTH118 - keeps the dot
    return output.plain(str(path))


def command_line(words: str, *, settings: Collection[str] = tuple(_FLAGS)) -> str:
    """Write a command, which has options for these settings, that works where this one does.

    A password is not written: the line ends up in logs.
    """
    given = {path: value for path, value in options.overrides().items() if path in settings}
    same = [
        word
        for path, flag in _FLAGS.items()
        if path in given
        for word in (flag, _shown(str(given[path])))
    ]
    same += tenant_option(options.given_tenant())
    return " ".join(["vectorflow", words, shlex.join(same)]).strip()


def _shown(value: str) -> str:
    from vectorflow.settings import redacted

    return redacted(value) if "://" in value else value
