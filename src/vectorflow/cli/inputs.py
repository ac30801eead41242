"""What commands read: stdin, and paths that are no addresses."""

import re
import sys
from collections.abc import Mapping, Sequence

import click

from vectorflow.cli import options

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def stdin(name: str) -> Mapping[str, object]:
    """Read all of stdin as one document."""
    if sys.stdin.isatty():
        click.echo("reading from the terminal; Ctrl-D ends the text", err=True)
    return {"id": name, "text": sys.stdin.buffer.read()}


def refuse_addresses(paths: Sequence[str], reader: str) -> None:
    """Refuse URLs, and say how to fetch what is there.

    Args:
        paths: As given.
        reader: Words of the command that reads stdin, up to the document's name.

    Raises:
        Refused: One of them is a URL.
    """
    for path in paths:
        if found := _URL.match(path):
            message = f"{found[1]}:// addresses are not read yet"
            raise options.Refused(message, fix=_detour(found[1].lower(), path, reader))


def _detour(scheme: str, url: str, reader: str) -> str:
    if scheme == "file":
        return "give the path alone"
    fetch = {"s3": f"aws s3 cp {url} -", "gs": f"gcloud storage cat {url}"}.get(
        scheme, f"curl -fsSL {url}"
    )
    name = url.split("?", maxsplit=1)[0].rstrip("/").rpartition("/")[2] or "NAME"
    return f"{fetch} | vectorflow {reader} {name}"
