"""Names and bounds of documents that are found inside of others."""

import unicodedata
from collections.abc import Container, Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from vectorflow.domain.documents import content_hash

SEPARATOR = "//"
"""Between a document and what is attached to it; no path of a file has it."""

MAX_DEPTH = 5
"""Documents around one: a mail in a mail in a mail is two deep."""

MAX_ATTACHED = 1000
"""In one document."""

MAX_ATTACHED_BYTES = 256 << 20
"""Of all that is attached to one document."""

MAX_NAME = 255
"""Characters of a name; what file systems allow."""

MAX_ID_BYTES = 1024
"""Of an external id in UTF-8."""

UNNAMED = "attachment"

_MAX_SUFFIX = 16


def clean_name(name: str) -> str:
    """Make a name that others gave printable and bounded; folders in it stay, `..` does not.

    A clean name stays as it is.
    """
    normal = unicodedata.normalize("NFC", name.replace("\\", "/"))
    printable = "".join(char if char.isprintable() else " " for char in normal)
    parts = [" ".join(part.split()) for part in printable.split("/")]
    kept = "/".join(part for part in parts if part not in {"", ".", ".."})
    return _shortened(kept) or UNNAMED


def attached_ids(outer: str, names: Sequence[str], taken: Container[str]) -> list[str]:
    """Give external ids to what is attached to a document, in order, none of them `taken`.

    Of two that are named alike the second becomes `name (2).pdf`. The same names get the same ids.
    """
    found: dict[str, None] = {}
    for name in names:
        ids = (_bounded(f"{outer}{SEPARATOR}{one}") for one in _numbered(clean_name(name)))
        found[next(key for key in ids if key not in found and key not in taken)] = None
    return list(found)


def attached_uri(outer: str, name: str) -> str:
    """Say where something attached lies: behind the `#` of the file that it is in."""
    return f"{outer}{SEPARATOR if '#' in outer else '#'}{quote(clean_name(name))}"


def _numbered(name: str) -> Iterator[str]:
    yield name
    path, number = PurePosixPath(name), 2
    while True:
        yield str(path.with_name(f"{path.stem} ({number}){path.suffix}"))
        number += 1


def _shortened(name: str) -> str:
    """Cut out of the middle: the suffix says what it is."""
    if len(name) <= MAX_NAME:
        return name
    suffix = PurePosixPath(name).suffix
    suffix = suffix if len(suffix) <= _MAX_SUFFIX else ""
    return name[: MAX_NAME - len(suffix)].rstrip(" /.") + suffix


def _bounded(external_id: str) -> str:
    """Put a hash in the place of the end of an id that is too long."""
    written = external_id.encode()
    if len(written) <= MAX_ID_BYTES:
        return external_id
    end = f"~{content_hash(written)}"
    return written[: MAX_ID_BYTES - len(end)].decode(errors="ignore") + end
