"""Documents handed over by a program: texts, bytes, or mappings with an id."""

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from typing import BinaryIO

from vectorflow.domain.documents import Listed
from vectorflow.errors import InvalidInput
from vectorflow.ports.source import Source

SPOOLED_BYTES = 16 << 20
"""Held in memory before a temporary file takes over."""


class ItemsSource(Source):
    """Takes `{"id", "text", "metadata"?}` mappings; texts wait in a temporary file."""

    def __init__(self, items: Iterable[Mapping[str, object]]) -> None:
        self.scope: str | None = None
        self._items = items
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOLED_BYTES)  # noqa: SIM115
        weakref.finalize(self, self._spool.close)
        self._places: dict[str, tuple[int, int]] = {}

    def list(self) -> Iterator[Listed]:
        for item in self._items:
            name, data, metadata = _checked(item)
            if name in self._places:
                message = f"two documents have the id {name!r}"
                raise InvalidInput(message, fix="give each document an id of its own")
            self._places[name] = (self._spool.tell(), len(data))
            self._spool.write(data)
            yield Listed(external_id=name, uri="", size=len(data), metadata=metadata)

    def open(self, listed: Listed) -> BinaryIO:
        start, length = self._places[listed.external_id]
        self._spool.seek(start)
        return BytesIO(self._spool.read(length))


def _checked(item: Mapping[str, object]) -> tuple[str, bytes, Mapping[str, object]]:
    name, text = item.get("id"), item.get("text")
    metadata = item.get("metadata", {})
    if not isinstance(name, str) or not name:
        message = "a document has no id"
        raise InvalidInput(message, fix='write {"id": "…", "text": "…"}')
    if not isinstance(text, str | bytes):
        message = f"document {name!r} has no text"
        raise InvalidInput(message, fix='write {"id": "…", "text": "…"}')
    if not isinstance(metadata, Mapping):
        message = f"the metadata of document {name!r} is no mapping"
        raise InvalidInput(message, fix="use names and values, such as {'team': 'hr'}")
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    return name, data, {str(key): value for key, value in metadata.items()}
